"""Data sections of hidden and static variables: what is shared with user space, by every door."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lskel
from lskel.bpf.flags import MapFlag
from lskel.btf import types as t
from lskel.errors import NotSupported, ReadOnly
from lskel.loader.header import parse_header
from lskel.loader.model import Loader
from lskel.replay.compare import differences
from lskel.replay.simulator.run import run as simulate_loader
from lskel.replay.simulator.simulate import simulate
from lskel.skeleton.python import generate_python
from tests.build.clang import compile_bpf
from tests.conftest import Run
from tests.loads import load_by_loader, load_directly
from tests.skeleton.c.headers import HEADER, Outcome, build, light
from tests.skeleton.c.headers import run as run_program
from tests.skeleton.modules import by_load, by_module

# One section of each kind: which variables user space may see is in its name.
SECTIONS = """
#define HIDDEN __attribute__((visibility("hidden")))
#define IN(name) SEC(#name) __attribute__((aligned(8)))
IN(.data.none) HIDDEN struct bpf_spin_lock lock;
IN(.data.none) HIDDEN int guarded;
IN(.bss.none) HIDDEN int zero_hidden;
IN(.data.statics) static volatile int kept = 7;
IN(.data.inside) __attribute__((visibility("internal"))) int internal = 1;
IN(.data.some) HIDDEN int unseen = 2;
IN(.data.some) int seen = 3;
IN(.data.weak) __attribute__((weak)) int weak = 5;
const volatile HIDDEN int constant = 6;
IN(.rodata.some) const volatile int limit = 8;
int sum;
SEC("tc") int add(void *ctx)
{
    const char text[] = "a string in .rodata.str: %d";
    bpf_spin_lock(&lock);
    guarded += kept + zero_hidden;
    bpf_spin_unlock(&lock);
    bpf_trace_printk(text, sizeof(text), guarded);
    kept++;
    return sum = guarded + internal + unseen + seen + weak + constant + limit;
}
"""
SHARED = {".bss", ".data.some", ".data.weak", ".rodata.some"}
FIRST, SECOND = 7 + 1 + 2 + 3 + 5 + 6 + 8, 15 + 1 + 2 + 3 + 5 + 6 + 8


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("hidden") / "hid.bpf.o"
    found.write_bytes(compile_bpf(SECTIONS))
    return found


def shared(obj: lskel.Object) -> set[str]:
    return {m.section for m in obj.maps if m.flags & MapFlag.MMAPABLE}


def test_what_is_shared(path: Path) -> None:
    obj = lskel.open_object(path)
    assert shared(obj) == SHARED
    assert {m.section for m in obj.maps} >= SHARED | {".data.none", ".data.statics", ".rodata"}


def test_hidden_variables_are_static(path: Path) -> None:
    btf = lskel.open_object(path).btf
    assert btf is not None
    linkages = {found.name: found.linkage for _, found in btf if isinstance(found, t.Var)}
    static = {name for name, linkage in linkages.items() if linkage == t.VarLinkage.STATIC}
    hidden = {"lock", "guarded", "zero_hidden", "internal", "unseen", "constant"}
    assert static == hidden | {"kept"}


def linked(path: Path, reference: Run) -> Path:
    """The same after bpftool's linker, which fills in sizes and offsets."""
    target = path.with_name("linked.bpf.o")
    reference("gen", "object", target, path)
    return target


@pytest.mark.parametrize("kind", ["compiled", "linked"])
def test_as_libbpf(kind: str, path: Path, reference: Run) -> None:
    """The same calls, flags and BTF among them."""
    path = linked(path, reference) if kind == "linked" else path
    obj = lskel.open_object(path)
    assert shared(obj) == SHARED
    header = parse_header(reference("gen", "skeleton", "-L", path, "name", obj.name))
    theirs = simulate(header.insns, header.blob, bytes(header.context_size), "little")
    assert theirs.value == 0
    ours = simulate_loader(lskel.generate(obj))
    assert not [str(found) for found in differences(theirs.records, ours.records)]


DOORS: dict[str, Callable[[Loader], Any]] = {
    "loader": load_by_loader,
    "direct": load_directly,
    "module": by_module,
    "load": by_load,
}


@pytest.mark.kernel
@pytest.mark.parametrize("door", DOORS)
def test_in_python(door: str, path: Path) -> None:
    with DOORS[door](lskel.generate(lskel.open_object(path))) as bpf:
        assert bpf.progs["add"].run(bytes(14)).value == FIRST
        assert bpf.bss.sum == FIRST
        bpf.data_some.seen = 103
        assert bpf.progs["add"].run(bytes(14)).value == SECOND + 100


def test_a_module_does_not_show_them(path: Path) -> None:
    text = generate_python(lskel.generate(lskel.open_object(path)))
    assert "    seen: " in text
    hidden = ("lock", "guarded", "zero_hidden", "internal", "unseen", "constant", "kept")
    assert not [name for name in hidden if f" {name}: " in text]


@pytest.mark.kernel
def test_not_shared_is_read(path: Path) -> None:
    """`lskel.load` shows static variables: their values, which it cannot change."""
    with lskel.load(path, variables={"data_statics.kept": 40}) as bpf:
        assert bpf.progs["add"].run(bytes(14)).value == FIRST + 33
        assert (bpf.data_statics.kept, bpf.data_none.guarded) == (41, 40)
        with pytest.raises(ReadOnly, match=r"all variables of .data.statics are static or hidden"):
            bpf.data_statics.kept = 1


USER = f"""
#include <stdio.h>
#include <unistd.h>
#include <sys/syscall.h>
#include <linux/bpf.h>
#include "{HEADER}"

static int run(int fd)
{{
    char packet[14] = {{}};
    union bpf_attr attr = {{}};

    attr.test.prog_fd = fd;
    attr.test.data_in = (unsigned long)packet;
    attr.test.data_size_in = sizeof(packet);
    return syscall(SYS_bpf, BPF_PROG_TEST_RUN, &attr, sizeof(attr)) ? -1 : (int)attr.test.retval;
}}

int main(void)
{{
    struct hid *skel = hid__open();

    if (!skel)
        return 1;
    skel->data_some->seen = 53;
    if (hid__load(skel))
        return 2;
    printf("%d ", run(skel->progs.add.prog_fd));
    printf("%d\\n", skel->bss->sum);
    hid__destroy(skel);
    return 0;
}}
"""
HEADERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "standalone": {"standalone": True},
    "table": {"standalone": True, "form": "table"},
}


@pytest.mark.kernel
@pytest.mark.parametrize("kind", HEADERS)
def test_in_c(kind: str, path: Path, tmp_path: Path) -> None:
    header = light(lskel.open_object(path), "hid", **HEADERS[kind])
    assert "unseen" not in header and "guarded;" not in header
    done = run_program(build(tmp_path, header, USER))
    assert done == Outcome(0, f"{FIRST + 50} {FIRST + 50}\n", "")


# The kernel maps no section with a lock, whoever sees what of it.
VISIBLE = """
struct bpf_spin_lock lock SEC(".data.A") LOCK;
int calls SEC(".data.A");
SEC("tc") int count(void *ctx)
{ int n; bpf_spin_lock(&lock); n = ++calls; bpf_spin_unlock(&lock); return n; }
"""


@pytest.mark.parametrize(
    ("lock", "seen"), [("", "lock"), ('__attribute__((visibility("hidden")))', "calls")]
)
def test_visible_in_c(lock: str, seen: str) -> None:
    obj = lskel.open_object(compile_bpf(VISIBLE.replace("LOCK", lock)))
    with pytest.raises(NotSupported) as caught:
        light(obj, "visible")
    told = str(caught.value)
    assert f"section .data.A: variable '{seen}' is visible to user space" in told
    assert f"'lock' has a bpf_spin_lock (declare '{seen}' static or __hidden" in told


@pytest.mark.kernel
def test_visible_in_python() -> None:
    """What libbpf fails to map is read by system calls."""
    with lskel.load(compile_bpf(VISIBLE.replace("LOCK", ""))) as bpf:
        assert bpf.progs["count"].run(bytes(14)).value == bpf.data_A.calls == 1
        with pytest.raises(ReadOnly, match=r"calls is read-only \(.data.A: maps with locks"):
            bpf.data_A.calls = 5


@pytest.mark.kernel
def test_visible_in_libbpf(reference: Run, bpffs: Path, tmp_path: Path) -> None:
    path = tmp_path / "visible.bpf.o"
    path.write_bytes(compile_bpf(VISIBLE.replace("LOCK", "")))
    with pytest.raises(subprocess.CalledProcessError) as caught:
        reference("prog", "loadall", path, bpffs / "visible")
    assert "map '.data.A': failed to re-mmap() contents: -ENOTSUPP" in caught.value.stderr


def test_locks_need_btf(path: Path) -> None:
    assert "map '.data.none'" in lskel.open_object(path).trace().ops[0].needed_by  # type: ignore[union-attr]
