"""C programs that were written for bpftool's header do the same with lskel's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import lskel
from tests import corpus
from tests.build.clang import compile_bpf
from tests.selftests.reference import generated_by_bpftool
from tests.skeleton.c.drivers import driver
from tests.skeleton.c.headers import HEADER, Outcome, build, by_bpftool, light, members, run

pytestmark = pytest.mark.kernel

# Objects of all sorts that any recent kernel loads: maps and programs of many types, global data,
# values of the configuration, iterators, raw tracepoints, map-in-map, perf and ring buffers.
_STEMS = """
bpf_flow bpf_iter_bpf_hash_map bpf_iter_ipv6_route bpf_iter_netlink bpf_iter_task
bpf_iter_test_kern4 bpf_syscall_macro cb_refs connect4_prog dev_cgroup for_each_hash_map_elem
metadata_used netif_receive_skb perf_event_stackmap pyperf_global sockopt_sk strobemeta_subprogs
syscall tailcall1 task_local_storage tcp_rtt test_attach_probe test_btf_map_in_map
test_core_reloc_kernel test_core_retro test_get_stack_rawtp test_global_data test_l4lb
test_link_pinning test_map_init test_perf_buffer test_pkt_access test_queue_map test_rdonly_maps
test_ringbuf_multi test_sk_lookup test_sockmap_update test_stacktrace_build_id test_tc_dtime
test_urandom_usdt test_varlen test_verif_scale1 test_xdp_link xdp_redirect_multi_kern
"""


def outcomes(directory: Path, program: str, headers: dict[str, str]) -> dict[str, Outcome]:
    """What the program does with each header."""
    directory.mkdir(exist_ok=True)
    return {
        # bpftool's headers are not without warnings.
        kind: run(build(directory / kind, header, program, *(["-w"] if kind == "theirs" else [])))
        for kind, header in headers.items()
    }


@pytest.mark.corpus
@pytest.mark.usefixtures("corpus_tools")
def test_objects_of_the_corpus(tmp_path: Path) -> None:
    """What is opened, loaded and attached is the same, down to the programs' tags."""
    headers = {path.stem: (path, text) for path, text in generated_by_bpftool().items()}

    def compare(stem: str) -> dict[str, Outcome]:
        path, theirs = headers[stem]
        name = corpus.object_name(path)
        obj = lskel.open_object(path)
        made = {
            "theirs": theirs,
            "plain": light(obj, name),
            "standalone": light(obj, name, standalone=True),
        }
        found = outcomes(tmp_path / stem, driver(name, members(theirs)), made)
        # bpftool's loaders have no inputs, such as whether a kfunc is of the declared type.
        known = found["theirs"]
        size = int(known.out.split()[2])
        ours = f"context of {size + 4 * len(obj.trace().inputs)} bytes"
        return found | {
            "theirs": known._replace(out=known.out.replace(f"context of {size} bytes", ours))
        }

    with ThreadPoolExecutor(2) as pool:
        results = dict(zip(_STEMS.split(), pool.map(compare, _STEMS.split()), strict=True))
    # Which of them load is the kernel's affair.
    loaded = [stem for stem, found in results.items() if found["theirs"].status == 0]
    assert len(loaded) >= 20, {stem: found["theirs"].out for stem, found in results.items()}
    for stem, found in results.items():
        assert found["plain"] == found["theirs"], stem
        assert found["standalone"] == found["theirs"], stem


_HEAD = f"""
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/bpf.h>
#include "{HEADER}"
"""

COUNTER = """
const volatile __u32 target_pid;
const volatile int step = 1;
__u64 hits;
int last = -1;
SEC("raw_tp/sys_enter") int count(struct bpf_raw_tracepoint_args *ctx)
{
    if (bpf_get_current_pid_tgid() >> 32 != target_pid || ctx->args[1] != 110 /* getppid */)
        return 0;
    hits += step;
    last = ctx->args[1];
    return 0;
}
"""
COUNTER_USER = """
static void call(int times)
{
    while (times--)
        syscall(SYS_getppid);
}

int main(void)
{
    struct prog *skel = prog__open();

    if (!skel)
        return 1;
    printf("open: step %d last %d\\n", skel->rodata->step, skel->data->last);
    skel->rodata->target_pid = getpid();
    skel->rodata->step = 3;
    skel->data->last = -2;
    if (prog__load(skel))
        return 2;
    printf("loaded: step %d last %d\\n", skel->rodata->step, skel->data->last);
    call(5);
    printf("not attached: %llu\\n", skel->bss->hits);
    if (prog__attach(skel))
        return 3;
    call(10);
    printf("attached: %llu last %d\\n", skel->bss->hits, skel->data->last);
    skel->bss->hits = 1000;
    call(1);
    printf("written: %llu\\n", skel->bss->hits);
    prog__detach(skel);
    call(10);
    printf("detached: %llu\\n", skel->bss->hits);
    prog__destroy(skel);
    return 0;
}
"""
FILTER = """
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 16);
    __type(key, __u32);
    __type(value, __u64);
} seen SEC(".maps");
struct { __u32 runs; __u64 bytes; char first[8]; } stats;
int limit = 2;
SEC("tc") int filter(struct __sk_buff *skb)
{
    __u32 key = skb->len;
    __u64 one = 1;
    bpf_map_update_elem(&seen, &key, &one, BPF_ANY);
    stats.runs++;
    stats.bytes += skb->len;
    bpf_skb_load_bytes(skb, 0, stats.first, sizeof(stats.first));
    return stats.runs > limit;
}
"""
FILTER_USER = """
static int test_run(int fd, const char *packet, int size)
{
    union bpf_attr attr;

    memset(&attr, 0, sizeof(attr));
    attr.test.prog_fd = fd;
    attr.test.data_in = (unsigned long)packet;
    attr.test.data_size_in = size;
    if (syscall(__NR_bpf, BPF_PROG_TEST_RUN, &attr, sizeof(attr)))
        return -errno;
    return attr.test.retval;
}

int main(void)
{
    static const char packet[100] = "0123456789";
    struct bpf_map_info info = {};
    union bpf_attr attr;
    struct prog *skel = prog__open();

    if (!skel)
        return 1;
    skel->maps.seen.max_entries = 3;
    skel->data->limit = 1;
    if (prog__load(skel))
        return 2;
    memset(&attr, 0, sizeof(attr));
    attr.info.bpf_fd = skel->maps.seen.map_fd;
    attr.info.info_len = sizeof(info);
    attr.info.info = (unsigned long)&info;
    if (syscall(__NR_bpf, BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr)))
        return 3;
    printf("%s of %u entries\\n", info.name, info.max_entries);
    for (int i = 0; i < 3; i++)
        printf("returned %d\\n", test_run(skel->progs.filter.prog_fd, packet, 50 + i));
    printf("%u runs, %llu bytes, first %.8s\\n", skel->bss->stats.runs, skel->bss->stats.bytes,
           skel->bss->stats.first);
    printf("attach %d\\n", prog__filter__attach(skel));
    prog__destroy(skel);
    return 0;
}
"""
LINES = """
int lines;
SEC("iter/bpf_map") int dump(struct bpf_iter__bpf_map *ctx)
{
    static const char text[] = "a map\\n";
    if (!lines++)
        bpf_seq_write(ctx->meta->seq, text, sizeof(text) - 1);
    return 0;
}
"""
LINES_HEAD = """
struct seq_file;
struct bpf_iter_meta { struct seq_file *seq; } __attribute__((preserve_access_index));
struct bpf_iter__bpf_map { struct bpf_iter_meta *meta; } __attribute__((preserve_access_index));
"""
LINES_USER = """
int main(void)
{
    struct prog *skel = prog__open_and_load();
    union bpf_attr attr;
    char text[64] = "";
    int fd;

    if (!skel || prog__attach(skel))
        return 1;
    memset(&attr, 0, sizeof(attr));
    attr.iter_create.link_fd = skel->links.dump_fd;
    fd = syscall(__NR_bpf, BPF_ITER_CREATE, &attr, sizeof(attr));
    if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
        return 2;
    printf("%s%d\\n", text, skel->bss->lines > 0);
    close(fd);
    prog__destroy(skel);
    return 0;
}
"""
REFUSED = """
int x;
SEC("socket") int good(void *ctx) { return x; }
SEC("socket") int bad(struct __sk_buff *skb) { return *(int *)(long)skb->len; }
"""
REFUSED_USER = """
int main(void)
{
    static char log[1 << 16];
    struct prog *skel = prog__open();
    int err;

    if (!skel)
        return 1;
    err = prog__load(skel);
    printf("load %d errno %d fds %d %d\\n", err, errno, skel->progs.good.prog_fd,
           skel->maps.bss.map_fd);
    prog__destroy(skel);
    skel = prog__open();
    skel->ctx.log_level = 1;
    skel->ctx.log_size = sizeof(log);
    skel->ctx.log_buf = (unsigned long)log;
    err = prog__load(skel);
    printf("load %d log %d\\n", err, strstr(log, "invalid mem access") != NULL);
    prog__destroy(skel);
    printf("open_and_load %d\\n", prog__open_and_load() == NULL);
    return 0;
}
"""


@pytest.mark.parametrize(
    ("source", "user", "said"),
    [
        (
            COUNTER,
            COUNTER_USER,
            "open: step 1 last -1\nloaded: step 3 last -2\nnot attached: 0\n"
            "attached: 30 last 110\nwritten: 1003\ndetached: 1003\n",
        ),
        (
            FILTER,
            FILTER_USER,
            "seen of 3 entries\nreturned 0\nreturned 1\nreturned 1\n"
            "3 runs, 153 bytes, first 01234567\nattach 0\n",
        ),
        (LINES_HEAD + LINES, LINES_USER, "a map\n1\n"),
        (
            REFUSED,
            REFUSED_USER,
            "load -13 errno 13 fds 0 0\nload -13 log 1\nopen_and_load 1\n",
        ),
    ],
    ids=["counter", "filter", "iterator", "refused"],
)
def test_by_hand(tmp_path: Path, source: str, user: str, said: str) -> None:
    path = tmp_path / "prog.bpf.o"
    path.write_bytes(compile_bpf(source))
    obj = lskel.open_object(path)
    headers = {
        "theirs": by_bpftool(path, "prog"),
        "plain": light(obj, "prog"),
        "standalone": light(obj, "prog", standalone=True),
        "table": light(obj, "prog", standalone=True, form="table"),
    }
    for kind, outcome in outcomes(tmp_path / "built", _HEAD + user, headers).items():
        assert outcome == Outcome(0, said, ""), kind
