"""lskel.load: what it takes, and the life of what it gives."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest

import lskel
from lskel.errors import ReadOnly, UsageError, WrongType
from lskel.loader.bundle import dump
from lskel.loader.model import Form
from tests.build.clang import compile_bpf, example

SOURCE = """
const volatile int limit = 3;
static int hidden = 5;
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 4);
         __type(key, int); __type(value, long); } counts SEC(".maps");
SEC("raw_tp/sys_enter") int count(void *ctx)
{ int key = limit; long one = hidden++; bpf_map_update_elem(&counts, &key, &one, 0); return 0; }
SEC("?raw_tp/sys_exit") int off(void *ctx) { return 0; }
"""


def sources(tmp_path: Path) -> dict[str, Any]:
    data = compile_bpf(SOURCE)
    path = tmp_path / "counts.bpf.o"
    path.write_bytes(data)
    obj = lskel.open_object(data, "counts")
    loader = lskel.generate(obj)
    bundle = tmp_path / "counts.lskel"
    loader.save(bundle)
    return {
        "path": path,
        "text": str(path),
        "bytes": data,
        "object": obj,
        "loader": loader,
        "bundle": bundle,
        "bytes of a bundle": dump(loader),
    }


@pytest.mark.kernel
@pytest.mark.parametrize(
    "kind", ["path", "text", "bytes", "object", "loader", "bundle", "bytes of a bundle"]
)
def test_sources(kind: str, tmp_path: Path) -> None:
    with lskel.load(sources(tmp_path)[kind], variables={"rodata.limit": 9}) as bpf:
        assert not bpf.loaded and bpf.rodata.limit == 9 and bpf.data.hidden == 5
        bpf.attach()
        assert bpf.loaded and bpf.maps.counts[9] >= 5
        assert [p.loaded for p in bpf.progs] == [True, False]


@pytest.mark.kernel
@pytest.mark.parametrize(
    "first",
    [
        lambda bpf: bpf.load(),
        lambda bpf: bpf.attach(),
        lambda bpf: bpf.progs.count.attach(),
        lambda bpf: bpf.progs.count.info(),
        lambda bpf: bpf.maps.counts.get(1),
        lambda bpf: list(bpf.maps.counts),
        lambda bpf: bpf.maps["counts"].fileno(),
    ],
)
def test_what_needs_the_kernel_loads(first: Any) -> None:
    with lskel.load(compile_bpf(SOURCE)) as bpf:
        assert (bpf.rodata.limit, bpf.loaded) == (3, False)
        bpf.rodata.limit = 4
        first(bpf)
        assert bpf.loaded and bpf.rodata.limit == 4
        with pytest.raises(ReadOnly, match="before load"):
            bpf.rodata.limit = 5
        with pytest.raises(UsageError, match="already loaded"):
            bpf.load()
    for late in (bpf.load, bpf.attach, lambda: bpf.maps.counts.fileno(), lambda: bpf.rodata):
        with pytest.raises(UsageError, match="closed"):
            late()


@pytest.mark.kernel
def test_nothing_is_left_of_a_rehearsal(bpffs: Path) -> None:
    bpf = lskel.load(example("hello"), pin_root=bpffs)
    bpf.rehearse()
    assert not bpf.loaded and "closed" in repr(bpf.maps["hello.bss"])
    with pytest.raises(UsageError, match="closed"):
        bpf.load()


@pytest.mark.kernel
def test_pins(bpffs: Path) -> None:
    with lskel.load(example("syscount")) as bpf:
        bpf.load()
        paths = bpf.pin(bpffs / "tool")
    assert {Path(path).name for path in paths} == {
        *("syscalls", "syscount_rodata", "syscount_bss", "count_syscall")
    }
    assert all(Path(path).exists() for path in paths)


@pytest.mark.kernel
def test_the_calls_one_by_one() -> None:
    with lskel.load(compile_bpf(SOURCE), direct=True) as bpf:
        bpf.attach()
        assert bpf.maps.counts[3] >= 5


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"name": "other"}, "name cannot change a loader"),
        ({"form": Form.TABLE}, "form cannot change a loader"),
        ({"direct": True, "kernel": lskel.SimulatedMachine()}, "remove `kernel`"),
        ({"variables": {"rodata.limit": b"3"}}, "rodata.limit: expected text or a number"),
    ],
)
def test_arguments_that_cannot_be(arguments: dict[str, Any], text: str) -> None:
    loader = lskel.generate(lskel.open_object(compile_bpf(SOURCE)))
    with pytest.raises((UsageError, WrongType), match=text):
        lskel.load(loader, **arguments)


def test_what_was_loaded_is_freed() -> None:
    """A process may load as often as it likes: classes go with their collection."""
    loader = lskel.generate(lskel.open_object(example("execsnoop")))

    def once() -> None:
        with lskel.load(loader, kernel=lskel.SimulatedMachine()) as bpf:
            bpf.load()
            assert bpf.bss.asdict() is not None
            list(bpf.maps)

    def objects() -> int:
        gc.collect()
        return len(gc.get_objects())

    once()
    once()
    before = objects()
    for _ in range(10):
        once()
    assert objects() - before < 10
