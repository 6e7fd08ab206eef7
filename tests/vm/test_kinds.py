"""Attach kinds of Linux 7.0 to 7.3: the links are those that libbpf 1.8 makes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import lskel
from lskel.bpf.enums import AttachType, LinkType
from tests import bpftool
from tests.attach.cases.case import version
from tests.build.clang import compile_bpf
from tests.conftest import lacking
from tests.skeleton.c.headers import STRICT, build, light, problems
from tests.vm import kinds
from tests.vm.job import Job
from tests.vm.machine import Machine

NEW = (7, 2)
# By the names of programs. Both have the functions of a pattern in the order of their BTF ids.
SECTIONS = {
    "entered": "fentry.multi/security_task_get?id",
    "entered_s": "fentry.multi.s/bpf_fentry_test1",
    "left": "fexit.multi/bpf_fentry_test*",
    "left_s": "fexit.multi.s/bpf_fentry_test1",
    "session": "fsession.multi/bpf_fentry_test?",
    "session_s": "fsession.multi.s/bpf_fentry_test1",
    "of_module": "fentry.multi/dummy:dummy_get_*",
    "both": "fsession/bpf_fentry_test2",
    "both_s": "fsession.s/bpf_fentry_test1",
    "raw": "raw_tp.s/sys_enter",
    "raw_long": "raw_tracepoint.s/sys_exit",
    "typed": "tp_btf.s/sys_enter",
    "record": "tp.s/syscalls/sys_enter_getsid",
    "record_long": "tracepoint.s/syscalls/sys_exit_getsid",
}
ONE_TARGET = {name: ".multi" not in section for name, section in SECTIONS.items()}
COOKIE = 0xC00C1E
LINKS = "\n".join(
    f'SEC("{section}") int {name}(void *ctx) {{ return 0; }}' for name, section in SECTIONS.items()
)
OF_MODULE = """
__u64 hits;
SEC("fentry.multi/dummy:*") int entered(void *ctx)
{
    __sync_fetch_and_add(&hits, 1);
    return 0;
}
"""
GIVEN = """
SEC("fentry.multi") int entered(void *ctx) { return 0; }
SEC("fexit.multi") int left(void *ctx) { return 0; }
SEC("uprobe.multi") int probed(void *ctx) { return 0; }
"""
WALK = """
struct seq_file;
#define KERNELS __attribute__((preserve_access_index))
struct bpf_iter_meta { struct seq_file *seq; } KERNELS;
struct cgroup;
struct bpf_iter__cgroup { struct bpf_iter_meta *meta; struct cgroup *cgroup; } KERNELS;
SEC("iter/cgroup") int walk(struct bpf_iter__cgroup *ctx)
{
    char mark = 'x';
    if (ctx->cgroup)
        bpf_seq_write(ctx->meta->seq, &mark, 1);
    return 0;
}
"""
COUNTING = """
__u64 entered, left, of_module, given, recorded;
#define COUNTS(section, name, number) \\
    SEC(section) int on_##name(void *ctx) { __sync_fetch_and_add(&name, number); return 0; }
COUNTS("fentry.multi/security_task_get?id", entered, 1)
COUNTS("fexit.multi/security_task_getsid", left, 1)
COUNTS("fentry.multi/dummy:*", of_module, 1)
COUNTS("fentry.multi", given, bpf_get_attach_cookie(ctx))
COUNTS("tp_btf.s/sys_enter", recorded, 1)
"""
USER = r"""
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <linux/bpf.h>
#include "skel.h"
#include <stdlib.h>

int main(void)
{
    struct lskel_btf btf;
    struct prog *skel = prog__open_and_load();
    __u64 cookie = 42, before;
    __u32 id;

    if (!skel || prog__attach(skel)) {
        printf("attach: %s\n", strerror(errno));
        return 1;
    }
    if (lskel_btf_open(&btf, "/sys/kernel/btf/vmlinux", NULL))
        return 2;
    id = lskel_btf_find(&btf, "security_task_getsid", LSKEL_FUNC);
    lskel_btf_close(&btf);
    printf("%d ", skel->links.on_given_fd);
    if (prog__on_given__attach_to(skel, &id, &cookie, 1) < 0)
        return 3;
    getsid(getpid());
    if (system("ip link add lskel0 type dummy && ip link del lskel0"))
        return 4;
    printf("%d %d %d %d %d ", (int)skel->bss->entered, (int)skel->bss->left,
           skel->bss->of_module > 1, (int)skel->bss->given, skel->bss->recorded > 0);
    prog__detach(skel);
    before = skel->bss->entered;
    getsid(getpid());
    printf("%d\n", (int)(skel->bss->entered - before));
    prog__destroy(skel);
    return 0;
}
"""
# Prints the ids of all functions that can be traced.
LISTING = r"""
#include <stdio.h>
#include "skel.h"

int main(void)
{
    struct lskel_function *functions = NULL;
    struct lskel_btf btf;
    long count;
    __u32 *ids, found, number;

    if (lskel_btf_open(&btf, "/sys/kernel/btf/vmlinux", NULL))
        return 1;
    count = lskel_functions_named(&btf, "*", &functions);
    if (count <= 0)
        return 2;
    ids = malloc(count * sizeof(*ids));
    found = lskel_functions_ids(&btf, "*", functions, count, ids);
    for (number = 0; number < found; number++)
        printf("%u\n", ids[number]);
    return 0;
}
"""


def plan(files: Path) -> Iterator[Job]:
    if why := bpftool.missing():
        lacking(why)
    directory = files / "kinds"
    directory.mkdir()
    arguments = {}
    for name, source in (("links", LINKS), ("module", OF_MODULE), ("given", GIVEN), ("walk", WALK)):
        path, made = directory / f"{name}.bpf.o", directory / f"{name}.lskel"
        path.write_bytes(compile_bpf(source))
        lskel.generate(lskel.open_object(path)).save(made)
        arguments[name] = {
            "bundle": str(made),
            "source": str(path),
            "bpftool": list(bpftool.command()),
        }
    yield Job("kinds: links", kinds.links, arguments["links"], 120)
    yield Job(
        "kinds: cookies",
        kinds.cookies,
        {"bundle": arguments["links"]["bundle"], "chosen": ONE_TARGET, "cookie": COOKIE},
    )
    yield Job("kinds: module", kinds.functions_of_a_module, arguments["module"], 60)
    given = {"bundle": arguments["given"]["bundle"]}
    counting = lskel.open_object(compile_bpf(COUNTING), name="counting")
    for name, standalone in (("plain", False), ("standalone", True)):
        header = light(counting, "prog", standalone=standalone)
        program = build(directory / name, header, USER)
        yield Job(f"kinds: C {name}", kinds.c_skeleton, {"program": str(program)}, 60)
    listing = build(directory / "listing", light(counting, "prog", standalone=True), LISTING)
    wide = {"bundle": arguments["given"]["bundle"], "listing": str(listing)}
    yield Job("kinds: wide", kinds.wide_patterns, wide, 120)
    yield Job("kinds: refusals", kinds.refusals, given)
    yield Job("kinds: children", kinds.children, {"bundle": arguments["walk"]["bundle"]})
    yield Job("kinds: fd", kinds.by_path_and_fd, given)


@pytest.fixture
def newest(machine: Machine) -> Machine:
    if version(machine.release) < NEW:
        pytest.skip(f"Linux {machine.release} has none of these links: see tests/vm/test_attach.py")
    return machine


on_machines = pytest.mark.vm(jobs=plan)


@on_machines
@pytest.mark.parametrize("name", SECTIONS)
def test_as_libbpf(name: str, newest: Machine) -> None:
    ours, its = newest.value("kinds: links")[name]
    assert ours == its
    if ".multi" not in SECTIONS[name]:
        return
    kind = SECTIONS[name].partition(".")[0].upper()
    assert ours["type"] == LinkType.TRACING_MULTI
    assert ours["attach_type"] == AttachType[f"TRACE_{kind}_MULTI"]
    assert ours["count"] == len(ours["ids"]) == len(set(ours["ids"])) > 0
    assert len(ours["addrs"]) == ours["count"]


@on_machines
def test_cookies(newest: Machine) -> None:
    found = newest.value("kinds: cookies")
    assert found == {name: COOKIE for name, takes_one in ONE_TARGET.items() if takes_one}


@on_machines
def test_functions_of_a_module(newest: Machine) -> None:
    """Some are not traceable, such as those that are freed; libbpf is refused the whole link."""
    found = newest.value("kinds: module")
    assert {"dummy_setup", "dummy_dev_init"} <= set(found["functions"])
    assert found["hits"] > 1
    assert found["after"] == 0
    assert "program 'entered' was not loaded for module 'nosuch'" in found["other"]
    assert "no traceable function of module 'dummy' matches 'nosuch*'" in found["nothing"]
    assert "prog 'entered': failed to attach: -ENOENT" in found["libbpf"]


@on_machines
@pytest.mark.parametrize("name", ["plain", "standalone"])
def test_c_skeleton(name: str, newest: Machine) -> None:
    """Fds, and runs: of getsid(2) at entry, at return, of a module, by a cookie, of all calls."""
    assert newest.value(f"kinds: C {name}") == "0 0 1 1 1 42 1 0\n"


def test_the_header_is_good_c_and_cxx() -> None:
    header = light(lskel.open_object(compile_bpf(COUNTING), name="c"), "prog", standalone=True)
    assert problems(header, "c", *STRICT) == ""
    assert problems(header, "c++", *STRICT) == ""


@on_machines
def test_refusals(newest: Machine) -> None:
    said = newest.value("kinds: refusals")
    assert "program 'entered' has no attach target: expected functions" in said["nothing"]
    assert "no function 'nosuch' in the BTF of vmlinux" in said["missing"]
    assert "EINVAL" in said["twice"] and "a function occurs twice" in said["twice"]
    assert "cookies need a list of functions, not a pattern" in said["cookies"]
    assert "program 'entered' was not loaded for module 'nosuch'" in said["no module"]
    assert said["other number"] == ""
    assert "EINVAL" in said["kind"]


@on_machines
def test_wide_patterns(newest: Machine) -> None:
    found = newest.value("kinds: wide")
    assert all(count > 10 for count in found["counts"].values()), found["counts"]
    assert found["ours"] > 10000
    assert found["differ"] == []


@on_machines
def test_children_of_a_cgroup(newest: Machine) -> None:
    assert newest.value("kinds: children") == [2, 4]


@on_machines
def test_by_fd_as_by_path(newest: Machine) -> None:
    by_path, by_fd = newest.value("kinds: fd")
    assert by_path.pop("flags") == 0
    by_fd.pop("flags")
    assert by_path == by_fd
