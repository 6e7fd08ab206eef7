"""The table loader: no ceilings of its own, one program for all, fallback on old kernels."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import Any

import pytest

import lskel
from lskel.bpf.enums import Cmd
from lskel.describe.loader_listing import loader_listing
from lskel.loader import records
from lskel.loader.blob import RegionKind
from lskel.loader.model import Form
from lskel.loader.records import Code
from lskel.replay.compare import differences
from lskel.replay.options import Options
from lskel.replay.simulator.run import run
from lskel.replay.simulator.simulate import simulate
from lskel.runtime.elements import lookup
from lskel.runtime.loader import run_loader
from lskel.runtime.syscall import BpfError
from lskel.trace import BtfFind
from tests.build.clang import compile_bpf
from tests.loader.replays import EXTERNS
from tests.loader.test_unrolled import maps_and_programs
from tests.loads import load_by_loader

TEXT = 'int value = 1; SEC("socket") int p(void *c) { return value; }'


def table(source: str | bytes) -> lskel.Loader:
    content = source if isinstance(source, bytes) else compile_bpf(source)
    return lskel.generate(lskel.open_object(content, name="test"), Form.TABLE)


@pytest.mark.kernel
def test_a_thousand_maps_and_programs() -> None:
    """bpftool's loader is rejected from 33 programs on, an unrolled one has 64 maps at most."""
    loader = table(maps_and_programs(1000, 1000))
    assert len(loader.insns) // 8 <= 256 + 2 * 2000
    with load_by_loader(loader) as bpf:
        assert len(bpf.maps) == len(bpf.progs) == 1000
        ids = bpf.progs["p999"].info().map_ids
        assert ids == (bpf.maps["m999"].info().id,)


def test_text_is_the_same_for_all() -> None:
    """Instructions differ in immediates only, but for the results at the end of main."""
    first, second = table(maps_and_programs(1, 1)), table(maps_and_programs(3, 5))
    ops = [list(loader.insns[0::8]) for loader in (first, second)]
    more = 2 * (len(second.trace.maps) + len(second.trace.programs) - 2)
    assert len(ops[1]) - len(ops[0]) == more
    # They are side by side, so what is before and behind is the same.
    same = next(n for n, pair in enumerate(zip(*ops, strict=False)) if pair[0] != pair[1])
    assert ops[1][same + more :] == ops[0][same:]


@pytest.mark.parametrize("source", [TEXT, maps_and_programs(1, 1), EXTERNS])
def test_text_for_what_there_is(source: str | bytes) -> None:
    """The walker has code for the kinds of records that there are, and for no others."""
    loader = table(source)
    kinds = {
        loader.blob[place]
        for region in loader.regions
        if region.kind is RegionKind.RECORDS
        for place in range(region.offset, region.offset + region.size, records.SIZE)
    }
    labels = {row.label for row in loader_listing(loader).rows}
    assert labels & {code.name for code in Code} == {Code(kind).name for kind in kinds}


def test_context_that_cannot_be_read() -> None:
    """Nothing is called then, and no operation is said to have failed."""
    loader = table(TEXT)
    ctx = bytes(loader.context_size - 1)
    replay = simulate(loader.insns, loader.blob, ctx, loader.trace.order)
    assert replay.value < 0 and not replay.records
    assert replay.failed_op(loader) is None


def test_auto_is_unrolled_for_what_is_small() -> None:
    for programs, form in ((1, Form.UNROLLED), (30, Form.TABLE)):
        obj = lskel.open_object(maps_and_programs(1, programs))
        assert lskel.generate(obj, "auto").form is form


def test_ten_thousand_kfunc_calls() -> None:
    calls = "kfunc();" * 10_000
    source = (
        f"extern void kfunc(void) __ksym;"
        f'SEC("raw_tp/sys_enter") int p(void *c) {{ {calls} return 0; }}'
    )
    loader = table(source)
    assert sum(isinstance(op, BtfFind) for op in loader.trace.ops) == 1
    replay = run(loader)
    assert replay.value == 0
    finds = [record for record in replay.records if record.name == "btf_find_by_name_kind"]
    assert len(finds) == 1


def test_context_is_too_large() -> None:
    trace = table(maps_and_programs(1, 1)).trace
    many = replace(trace, programs=trace.programs * 9000)
    with pytest.raises(lskel.LimitExceeded, match="need a context of"):
        lskel.generate(many, Form.TABLE)


@pytest.mark.kernel
def test_large_values_are_copied_in_parts() -> None:
    """A value that the caller gives has no limit but the kernel's."""
    size = 3 * 4096 + 100
    loader = table(f'char big[{size}] = {{1}}; SEC("socket") int p(void *c) {{ return big[5]; }}')
    value = bytes(n % 251 for n in range(size))
    with load_by_loader(loader, Options(initial={"test.data": value})) as bpf:
        assert lookup(bpf.maps["test.data"].fileno(), bytes(4), size) == value
    with load_by_loader(loader) as bpf:
        kept = lookup(bpf.maps["test.data"].fileno(), bytes(4), size)
        assert kept == b"\1" + bytes(size - 1)


@pytest.mark.parametrize("big_endian", [False, True])
def test_either_byte_order(big_endian: bool) -> None:
    obj = lskel.open_object(compile_bpf(TEXT, big_endian=big_endian), name="test")
    replays = [run(lskel.generate(obj, form)) for form in Form]
    assert [replay.value for replay in replays] == [0, 0]
    assert not list(differences(*(replay.records for replay in replays)))


def test_damaged_records_do_no_harm() -> None:
    """Places outside the blob and unknown codes are refused by the walker itself."""
    loader = table(TEXT)
    region = next(r for r in loader.regions if r.kind is RegionKind.RECORDS)
    for at, content in ((0, bytes([len(Code)])), (4, b"\xff" * 4), (8, b"\xff" * 4)):
        blob = bytearray(loader.blob)
        start = region.offset + at
        blob[start : start + len(content)] = content
        replay = run(replace(loader, blob=bytes(blob)))
        assert replay.value == -errno.EFAULT
        assert not replay.open_fds


@pytest.mark.kernel
def test_kernels_without_bpf_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before 5.17 the kernel refuses the walker; the same trace is unrolled then."""
    tried: list[bool] = []

    def old(insns: bytes, blob: bytes, ctx: bytearray, btf: bytes, *rest: Any) -> object:
        tried.append(bool(btf))
        if btf:
            raise BpfError(Cmd.PROG_LOAD, errno.EINVAL)
        return run_loader(insns, blob, ctx, btf, *rest)

    monkeypatch.setattr("lskel.runtime.image.run_loader", old)
    with load_by_loader(table(TEXT)) as bpf:
        assert [program.name for program in bpf.progs if program.loaded] == ["p"]
    assert tried == [True, False]
