"""What only the target knows: its configuration, types, pages and CPUs, and what is asked for."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import lskel
from lskel.btf.btf import Btf
from lskel.btf.types import Typedef
from lskel.runtime.kconfig import this_machine
from tests.build.clang import compile_bpf
from tests.conftest import lacking
from tests.replay.tcp_congestion import SIZE, connection
from tests.skeleton.c.headers import HEADER, STRICT, build, by_bpftool, light, problems, run

pytestmark = pytest.mark.kernel

BOTH = pytest.mark.parametrize("standalone", [False, True], ids=["plain", "standalone"])
HEAD = f"""
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "{HEADER}"
"""

CONFIGURED = """
extern int CONFIG_HZ __kconfig;
extern bool CONFIG_BPF_SYSCALL __kconfig;
extern enum libbpf_tristate CONFIG_IPV6 __kconfig;
extern char CONFIG_CC_VERSION_TEXT[12] __kconfig;
extern char CONFIG_NET __kconfig;
extern unsigned long CONFIG_OF_NO_KERNEL __kconfig __weak;
extern unsigned LINUX_KERNEL_VERSION __kconfig;
extern bool LINUX_HAS_BPF_COOKIE __kconfig;
extern bool LINUX_HAS_SYSCALL_WRAPPER __kconfig;
long sum;
SEC("raw_tp/sys_enter") int probe(void *ctx)
{
    sum = CONFIG_HZ + CONFIG_BPF_SYSCALL + CONFIG_IPV6 + CONFIG_CC_VERSION_TEXT[1] + CONFIG_NET +
          CONFIG_OF_NO_KERNEL + LINUX_KERNEL_VERSION + LINUX_HAS_BPF_COOKIE +
          LINUX_HAS_SYSCALL_WRAPPER;
    return 0;
}
"""
CONFIGURED_USER = """
static void show(struct prog *skel)
{
    printf("%d %d %d '%s' %c %lu %#x %d %d\\n", skel->kconfig->CONFIG_HZ,
           skel->kconfig->CONFIG_BPF_SYSCALL, (int)skel->kconfig->CONFIG_IPV6,
           skel->kconfig->CONFIG_CC_VERSION_TEXT, skel->kconfig->CONFIG_NET,
           skel->kconfig->CONFIG_OF_NO_KERNEL, skel->kconfig->LINUX_KERNEL_VERSION,
           skel->kconfig->LINUX_HAS_BPF_COOKIE, skel->kconfig->LINUX_HAS_SYSCALL_WRAPPER);
}

int main(void)
{
    struct prog *skel = prog__open();

    if (!skel) {
        printf("open: %s\\n", strerror(errno));
        return 1;
    }
    show(skel);
    if (prog__load(skel))
        return 2;
    show(skel);
    if (prog__attach(skel))
        return 3;
    getppid();
    printf("%d\\n", skel->bss->sum == skel->kconfig->CONFIG_HZ + skel->kconfig->CONFIG_BPF_SYSCALL +
           (long)skel->kconfig->CONFIG_IPV6 + skel->kconfig->CONFIG_CC_VERSION_TEXT[1] +
           skel->kconfig->CONFIG_NET + (long)skel->kconfig->LINUX_KERNEL_VERSION +
           skel->kconfig->LINUX_HAS_BPF_COOKIE + skel->kconfig->LINUX_HAS_SYSCALL_WRAPPER);
    prog__destroy(skel);
    return 0;
}
"""


def configured(tmp_path: Path) -> Path:
    path = tmp_path / "prog.bpf.o"
    path.write_bytes(compile_bpf("#include <stdbool.h>\n" + CONFIGURED))
    return path


@BOTH
def test_values_of_this_kernel(tmp_path: Path, standalone: bool) -> None:
    """As libbpf finds them, which looks for them where bpftool runs."""
    if this_machine().config.values is None:
        lacking("this kernel's configuration cannot be read")
    path = configured(tmp_path)
    # bpftool's header leaves this to its user.
    tristate = "enum libbpf_tristate { TRI_NO, TRI_YES, TRI_MODULE };"
    program = tristate + HEAD + CONFIGURED_USER
    header = light(lskel.open_object(path), "prog", standalone=standalone)
    ours = run(build(tmp_path / "ours", header, program))
    theirs = run(build(tmp_path / "theirs", by_bpftool(path, "prog"), program, "-w"))
    assert ours == theirs
    assert ours.status == 0 and ours.out.endswith("\n1\n")


GIVEN_USER = """
int main(int argc, char **argv)
{
    struct prog *skel = prog__open_kconfig(argv[argc - 1]);

    if (!skel) {
        printf("%d %s\\n", errno, strerror(errno));
        return 1;
    }
    printf("%d %d %d '%s' %d %lu\\n", skel->kconfig->CONFIG_HZ,
           skel->kconfig->CONFIG_BPF_SYSCALL, (int)skel->kconfig->CONFIG_IPV6,
           skel->kconfig->CONFIG_CC_VERSION_TEXT, skel->kconfig->CONFIG_NET,
           skel->kconfig->CONFIG_OF_NO_KERNEL);
    prog__destroy(skel);
    return 0;
}
"""
GIVEN = """# CONFIG_HZ=1
CONFIG_HZ=-250
CONFIG_HZ=3
CONFIG_BPF_SYSCALL=y
CONFIG_IPV6=m
CONFIG_CC_VERSION_TEXT="gcc (Debian 12.2.0-14)"
CONFIG_NET=n
"""
MISSING, BAD = "2 No such file or directory\n", "22 Invalid argument\n"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "-250 1 2 'gcc (Debian' 110 0\n"),
        ({"HZ=-250": "HZ=0x10"}, "16 1 2 'gcc (Debian' 110 0\n"),
        ({"HZ=-250": "HZ=0xffffffffffffffff"}, "-1 1 2 'gcc (Debian' 110 0\n"),
        ({"HZ=-250": "HZ=2147483648"}, BAD),
        ({"HZ=-250": "HZ=010"}, BAD),
        ({"HZ=-250": "HZ=5x"}, BAD),
        ({"HZ=-250": "HZ="}, BAD),
        ({"NET=n": "NET=-7\nCONFIG_OF_NO_KERNEL=18446744073709551615"}, None),
        ({"NET=n": "NET=300"}, BAD),
        ({"SYSCALL=y": "SYSCALL=m"}, BAD),
        ({"IPV6=m": "IPV6=1"}, BAD),
        ({'"gcc (Debian 12.2.0-14)"': '"gcc'}, BAD),
        ({'"gcc (Debian 12.2.0-14)"': '""'}, "-250 1 2 '' 110 0\n"),
        ({"CONFIG_NET=n\n": ""}, MISSING),
    ],
)
def test_values_of_a_file(tmp_path: Path, changes: dict[str, str], said: str | None) -> None:
    text = GIVEN
    for old, new in changes.items():
        text = text.replace(old, new)
    config = tmp_path / "config"
    config.write_text(text)
    header = light(lskel.open_object(configured(tmp_path)), "prog")
    program = build(tmp_path / "built", header, HEAD + GIVEN_USER)
    wanted = f"-250 1 2 'gcc (Debian' -7 {(1 << 64) - 1}\n" if said is None else said
    assert run(program, config).out == wanted
    assert run(program, tmp_path / "none").out == MISSING


# The names of congestion controls are the whole machine's.
NAME = f"lskel_c_{os.getpid()}"
CONTROL = """
struct tcp_congestion_ops___small {
    int only_here;
    char name[16];
    void (*init)(void *);
    unsigned (*undo_cwnd)(void *);
    unsigned (*ssthresh)(void *);
    void (*cong_avoid)(void *, unsigned, unsigned);
};
long inits, acks;
SEC("struct_ops/so_init") int so_init(void *c) { __sync_fetch_and_add(&inits, 1); return 0; }
SEC("struct_ops/so_avoid") int so_avoid(void *c) { __sync_fetch_and_add(&acks, 1); return 0; }
SEC("struct_ops/so_ssthresh") unsigned so_ssthresh(void *c) { return 2; }
SEC("struct_ops/so_undo") unsigned so_undo(void *c) { return 10; }
SEC("SECTION") struct tcp_congestion_ops___small cc = {
    .only_here = ONLY_HERE, .name = "NAME", .init = (void *)so_init,
    .cong_avoid = (void *)so_avoid, .ssthresh = so_ssthresh, .undo_cwnd = so_undo };
"""
CONTROL_USER = """
int main(int argc, char **argv)
{
    struct prog *skel = prog__open();
    char line[8];

    if (!skel)
        return 1;
    if (argc > 1 && !strcmp(argv[1], "without"))
        prog__so_init__set_autoload(skel, 0);
    if (prog__load(skel))
        return 2;
    for (int times = 0; times < 2; times++) {
        if (prog__attach(skel)) {
            printf("attach: %s\\n", strerror(errno));
            prog__destroy(skel);
            return 3;
        }
        printf("attached %d\\n", skel->links.cc_fd > 2);
        fflush(stdout);
        if (!fgets(line, sizeof(line), stdin))
            return 4;
        prog__detach(skel);
        printf("detached %ld %d\\n", skel->bss->inits, skel->bss->acks > 0);
        fflush(stdout);
        if (!fgets(line, sizeof(line), stdin))
            return 4;
    }
    prog__destroy(skel);
    return 0;
}
"""


def control(section: str, only_here: int = 0) -> lskel.Object:
    source = CONTROL.replace("NAME", NAME).replace("ONLY_HERE", str(only_here))
    return lskel.open_object(compile_bpf(source.replace("SECTION", section)), name="so")


def is_registered() -> bool:
    try:
        return connection(NAME) == (NAME, SIZE)
    except FileNotFoundError:
        return False


@BOTH
@pytest.mark.parametrize("without", [False, True], ids=["all", "without init"])
@pytest.mark.parametrize("section", [".struct_ops", ".struct_ops.link"])
def test_congestion_control(tmp_path: Path, section: str, without: bool, standalone: bool) -> None:
    """Registered, used by a connection, taken back; by a link, it can be done again."""
    header = light(control(section), "prog", standalone=standalone)
    program = build(tmp_path / "built", header, HEAD + CONTROL_USER)
    with subprocess.Popen(
        [program, "without" if without else "all"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        said = []
        for _ in range(2 if section.endswith("link") else 1):
            said.append(process.stdout.readline())
            assert is_registered()
            process.stdin.write("\n")
            process.stdin.flush()
            said.append(process.stdout.readline())
            assert not is_registered()
            process.stdin.write("\n")
            process.stdin.flush()
        last = process.stdout.read()
    assert not is_registered()
    inits = 0 if without else 1
    assert said[:2] == ["attached 1\n", f"detached {inits} 1\n"]
    if section.endswith("link"):
        assert said[3] == f"detached {2 * inits} 1\n" and process.returncode == 0
    else:  # the kernel registers such a map once only
        assert last == "attach: Device or resource busy\n" and process.returncode == 3


def test_what_this_kernel_lacks(tmp_path: Path) -> None:
    """A member that it has not may only be 0."""
    header = light(control(".struct_ops", only_here=1), "prog")
    outcome = run(build(tmp_path / "built", header, HEAD + CONTROL_USER))
    assert (outcome.status, outcome.out) == (3, "attach: Operation not supported\n")
    assert not is_registered()


REPLACED = """
int calls;
__noinline int twice(int x) { return x + x; }
SEC("tc") int entry(struct __sk_buff *skb) { calls++; return twice(skb->len); }
"""
REPLACING = 'SEC("freplace/twice") int thrice(int x) { return 3 * x; }'
REPLACE_USER = """
#include "other.h"
static int test_run(int fd)
{
    static const char packet[50];
    union bpf_attr attr;

    memset(&attr, 0, sizeof(attr));
    attr.test.prog_fd = fd;
    attr.test.data_in = (unsigned long)packet;
    attr.test.data_size_in = sizeof(packet);
    return skel_sys_bpf(BPF_PROG_TEST_RUN, &attr, sizeof(attr)) ? -errno : (int)attr.test.retval;
}

int main(void)
{
    struct prog *skel = prog__open_and_load();
    struct other *other = other__open();
    int fd;

    if (!skel || !other)
        return 1;
    fd = skel->progs.entry.prog_fd;
    printf("none %d\\n", other__thrice__set_target(other, fd, "none"));
    printf("%d\\n", other__thrice__set_target(other, fd, "twice"));
    printf("load %d\\n", other__load(other));
    printf("before %d\\n", test_run(fd));
    printf("attach %d\\n", other__attach(other));
    printf("attached %d\\n", test_run(fd));
    other__detach(other);
    printf("detached %d\\n", test_run(fd));
    other__destroy(other);
    prog__destroy(skel);
    return 0;
}
"""


def test_replaced_function(tmp_path: Path) -> None:
    """Two skeletons in one program; the second replaces a function of the first's program."""
    objects = [lskel.open_object(compile_bpf(text), name="r") for text in (REPLACED, REPLACING)]
    (tmp_path / "built").mkdir()
    (tmp_path / "built" / "other.h").write_text(light(objects[1], "other"))
    program = build(tmp_path / "built", light(objects[0], "prog"), HEAD + REPLACE_USER)
    outcome = run(program)
    if "load -1\n" in outcome.out:
        pytest.skip("this kernel, which is locked down, lets nobody replace functions")
    assert outcome.out == ("none -2\n0\nload 0\nbefore 100\nattach 0\nattached 150\ndetached 100\n")


SIZES = """
struct { __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __uint(key_size, 4); __uint(value_size, 4); }
events SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 5000); } ring SEC(".maps");
int filler[3000];
const int fixed = 5;
SEC("xdp") int p(struct xdp_md *ctx)
{
    bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &filler, 4);
    bpf_ringbuf_output(&ring, (void *)&fixed, 4, 0);
    return filler[0];
}
"""
SIZES_USER = """
#include <sys/mman.h>
static int mapped[8], count;
static void *spy(void *at, size_t size, int prot, int flags, int fd, off_t from)
{
    mapped[count++] = size;
    return mmap(at, size, prot, flags, fd, from);
}
#ifdef PAGE
#define sysconf(name) PAGE
#endif
#define mmap spy
#include "skel.h"
#undef mmap

int main(void)
{
    struct prog *skel = prog__open();
    int err;

    printf("%d %d\\n", mapped[0], mapped[1]);
    if (!skel)
        return 1;
    err = prog__load(skel);
    printf("load %d %d\\n", err, skel->rodata ? skel->rodata->fixed : 0);
    printf("%d %d\\n", mapped[2], mapped[3]);
    printf("%u %u\\n", skel->maps.events.max_entries, skel->maps.ring.max_entries);
    prog__destroy(skel);
    return 0;
}
"""


@BOTH
def test_pages_and_cpus(tmp_path: Path, standalone: bool) -> None:
    """Sizes are those of the machine that it runs on, where a page may be larger."""
    header = light(lskel.open_object(compile_bpf(SIZES), name="s"), "prog", standalone=standalone)
    head = HEAD.replace(f'#include "{HEADER}"', "")
    here = run(build(tmp_path / "here", header, head + SIZES_USER))
    cpus = int(Path("/sys/devices/system/cpu/possible").read_text().split("-")[-1]) + 1
    page = os.sysconf("SC_PAGE_SIZE")
    assert here.out == f"{page} {3 * page}\nload 0 5\n{page} {3 * page}\n{cpus} {2 * page}\n"
    # This kernel's pages are smaller, so it does not map that much of them.
    large = build(tmp_path / "large", header, head + SIZES_USER, "-DPAGE=16384L")
    assert run(large).out == f"16384 16384\nload -12 0\n16384 16384\n{cpus} 16384\n"


GIVEN_MAP = """
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __type(key, int); __type(value, int);
         __uint(max_entries, 4); } shared SEC(".maps");
SEC("socket") int always(void *ctx) { int k = 1; int *v = bpf_map_lookup_elem(&shared, &k);
                                      return v ? ++*v : 0; }
SEC("?socket") int optional(void *ctx) { return 1; }
"""
GIVEN_MAP_USER = """
int main(void)
{
    struct prog *one = prog__open_and_load(), *two = prog__open();
    int shared;

    if (!one || !two)
        return 1;
    shared = one->maps.shared.map_fd;
    printf("%d %d\\n", one->progs.always.prog_fd > 2, one->progs.optional.prog_fd);
    two->maps.shared.map_fd = dup(shared);
    prog__optional__set_autoload(two, 1);
    prog__always__set_autoload(two, 0);
    if (prog__load(two))
        return 2;
    printf("%d %d\\n", two->progs.always.prog_fd, two->progs.optional.prog_fd > 2);
    errno = 0;
    printf("again %d", prog__load(two) == -EALREADY);
    printf(" %d\\n", errno == EALREADY);
    prog__destroy(two);
    two = prog__open();
    prog__optional__set_autoload(two, 1);
    prog__destroy(two); /* leaves fd 1 open */
    prog__destroy(one);
    prog__destroy(NULL);
    printf("end %d\\n", dup(0));
    return 0;
}
"""


@BOTH
def test_given_maps_and_switched_programs(tmp_path: Path, standalone: bool) -> None:
    obj = lskel.open_object(compile_bpf(GIVEN_MAP), name="g")
    header = light(obj, "prog", standalone=standalone)
    program = build(tmp_path / "built", header, HEAD + GIVEN_MAP_USER)
    assert run(program).out == "1 0\n0 1\nagain 1 1\nend 3\n"


LINKED = 'int runs; SEC("xdp") int count(void *ctx) { runs++; return 2; }'
LINKED_USER = """
#include <net/if.h>
#include <arpa/inet.h>
#include <sys/socket.h>

int main(void)
{
    struct prog *skel = prog__open_and_load();
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9) };
    int sock = socket(AF_INET, SOCK_DGRAM, 0), before;

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (!skel || prog__attach(skel) || skel->links.count_fd)
        return 1;
    if (prog__count__attach_to(skel, if_nametoindex("lo")) < 0) {
        printf("attach: %s\\n", strerror(errno));
        return 2;
    }
    before = skel->bss->runs;
    sendto(sock, "x", 1, 0, (struct sockaddr *)&to, sizeof(to));
    printf("%d\\n", skel->bss->runs > before);
    prog__destroy(skel);
    return 0;
}
"""


@BOTH
def test_attach_to(tmp_path: Path, standalone: bool) -> None:
    """An XDP program is told its interface: one of a network namespace of its own."""
    obj = lskel.open_object(compile_bpf(LINKED), name="l")
    program = build(tmp_path / "b", light(obj, "prog", standalone=standalone), HEAD + LINKED_USER)
    script = 'ip link set lo up && exec "$0"'
    assert run(program, prefix=("unshare", "-n", "sh", "-c", script)).out == "1\n"


LINKS = 'int hits; SEC("tp_btf/sys_enter") int count(void *ctx) { hits++; return 0; }'
LINKS_USER = """
int main(void)
{
    struct prog *skel = prog__open_and_load();
    int link;

    if (!skel)
        return 1;
    link = skel->links.count_fd;
    getppid();
    printf("%d %d %d\\n", link > 2, skel->bss->hits > 0, prog__attach(skel));
    printf("%d\\n", link == skel->links.count_fd);
    prog__destroy(skel);
    return 0;
}
"""


@BOTH
def test_loader_that_attaches(tmp_path: Path, standalone: bool) -> None:
    obj = lskel.open_object(compile_bpf(LINKS), name="l")
    header = light(obj.trace(attach=True), "prog", standalone=standalone)
    assert run(build(tmp_path / "b", header, HEAD + LINKS_USER)).out == "1 1 0\n1\n"
    assert problems(header, "c++", *STRICT) == ""


KINDS = """
int clock, sent, looked;
SEC("perf_event") int on_clock(void *ctx) { clock++; return 0; }
SEC("cgroup_skb/egress") int on_egress(struct __sk_buff *skb) { sent++; return 1; }
SEC("sk_lookup") int on_lookup(struct bpf_sk_lookup *ctx) { looked++; return SK_PASS; }
"""
KINDS_USER = """
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>

int main(int argc, char **argv)
{
    struct perf_event_attr attr = {};
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9) };
    struct prog *skel = prog__open_and_load();
    int event, group = open(argv[argc - 1], O_RDONLY), net = open("/proc/self/ns/net", O_RDONLY);
    int sock = socket(AF_INET, SOCK_DGRAM, 0);

    attr.size = sizeof(attr);
    attr.type = PERF_TYPE_SOFTWARE;
    attr.config = PERF_COUNT_SW_CPU_CLOCK;
    attr.sample_period = 100000;
    event = syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (!skel || prog__attach(skel) || event < 0 || group < 0 || net < 0)
        return 1;
    if (prog__on_clock__attach_to(skel, event) < 0)
        return 2;
    if (prog__on_egress__attach_to(skel, group) < 0)
        return 3;
    if (prog__on_lookup__attach_to(skel, net) < 0)
        return 4;
    sendto(sock, "x", 1, 0, (struct sockaddr *)&to, sizeof(to));
    for (long i = 0; i < 10000000000 && !skel->bss->clock; i++)
        __asm__ volatile("" ::: "memory");
    printf("%d %d %d\\n", skel->bss->clock > 0, skel->bss->sent > 0, skel->bss->looked > 0);
    prog__destroy(skel);
    return 0;
}
"""


@BOTH
def test_attach_to_other_kinds(
    tmp_path: Path, mount: Callable[[str], Path], standalone: bool
) -> None:
    """A perf event, a control group and a network namespace by their fd."""
    header = light(lskel.open_object(compile_bpf(KINDS), name="k"), "prog", standalone=standalone)
    program = build(tmp_path / "b", header, HEAD + KINDS_USER)
    script = 'ip link set lo up && exec "$0" "$@"'
    outcome = run(program, mount("cgroup2"), prefix=("unshare", "-n", "sh", "-c", script))
    assert outcome == (0, "1 1 1\n", "")


TOLD = 'int hits; SEC("tp_btf") int told(void *ctx) { hits++; return 0; }'
TOLD_USER = """
#include <stdlib.h>
int main(int argc, char **argv)
{
    struct prog *skel = prog__open();

    if (!skel || argc != 2)
        return 1;
    printf("%d\\n", prog__load(skel) < 0);
    prog__told__set_target_id(skel, 0, atoi(argv[1]));
    if (prog__load(skel) || prog__attach(skel))
        return 2;
    getppid();
    printf("%d\\n", skel->bss->hits > 0);
    prog__destroy(skel);
    return 0;
}
"""


@BOTH
def test_target_by_id(tmp_path: Path, standalone: bool) -> None:
    """A section that names no target: the number of the type in the kernel's BTF."""
    kernel_btf = Btf(Path("/sys/kernel/btf/vmlinux").read_bytes())
    number = kernel_btf.find("btf_trace_sys_enter", Typedef)
    obj = lskel.open_object(compile_bpf(TOLD), name="t")
    header = light(obj, "prog", standalone=standalone)
    program = build(tmp_path / "b", header, HEAD + TOLD_USER)
    assert run(program, str(number)) == (0, "1\n1\n", "")
    assert problems(header, "c++", *STRICT) == ""
