"""The unrolled loader: its ceilings, and what it does without them in the kernel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import lskel
from lskel.loader.blob import RegionKind
from tests.build.clang import compile_bpf, example
from tests.loads import load_by_loader


def maps_and_programs(maps: int, programs: int) -> bytes:
    map_text = "".join(
        f"struct {{ __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, int);"
        f' __type(value, int); }} m{n} SEC(".maps");\n'
        for n in range(maps)
    )
    program_text = "".join(
        f'SEC("socket") int p{n}(void *ctx) {{ int k = 0; '
        f"return bpf_map_lookup_elem(&m{n % maps}, &k) != 0; }}\n"
        for n in range(programs)
    )
    return compile_bpf(map_text + program_text)


def test_too_many_maps() -> None:
    obj = lskel.open_object(maps_and_programs(65, 1))
    with pytest.raises(
        lskel.LimitExceeded, match="65 maps, an unrolled loader has at most 64"
    ) as caught:
        lskel.generate(obj, "unrolled")
    assert (caught.value.limit, caught.value.actual) == (64, 65)


def test_too_much_data() -> None:
    obj = lskel.open_object(
        compile_bpf('char big[66 << 20] = {1}; SEC("socket") int p(void *c) { return big[0]; }')
    )
    with pytest.raises(lskel.LimitExceeded, match="64 MiB"):
        lskel.generate(obj, "unrolled")


def test_jumps_too_long() -> None:
    trace = lskel.open_object(maps_and_programs(1, 1)).trace()
    from dataclasses import replace

    # Freezing the same map again and again: 10 instructions an operation.
    freeze = next(op for op in trace.ops if type(op).__name__ == "ProgLoad")
    long = replace(trace, ops=trace.ops + (freeze,) * 1500)
    with pytest.raises(lskel.LimitExceeded, match="more than the 32767 that a jump can span"):
        lskel.generate(long, "unrolled")


@pytest.mark.kernel
def test_more_programs_than_bpftools_loader_can_hold() -> None:
    """bpftool keeps 32 program fds on a stack of 512 bytes; here they are in the blob."""
    loader = lskel.generate(lskel.open_object(maps_and_programs(60, 100)), "unrolled")
    with load_by_loader(loader) as bpf:
        assert len(bpf.progs) == 100 and len(bpf.maps) == 60
        assert {p.info().name for p in bpf.progs} == {f"p{n}" for n in range(100)}


def test_regions_do_not_overlap_and_cover_the_blob() -> None:
    loader = lskel.generate(lskel.open_object(example("syscount")), "unrolled")
    end = 0
    for region in sorted({(r.offset, r.size) for r in loader.regions}):
        assert region[0] >= end and region[0] - end < 8
        end = region[0] + region[1]
    assert len(loader.blob) - end < 8
    attrs = [r for r in loader.regions if r.kind is RegionKind.ATTR]
    assert all(r.offset + r.size < 0x7FFF for r in attrs)


def test_same_bytes_whatever_the_hash_seed(tmp_path: Path) -> None:
    outputs = []
    for seed in ("0", "1", "77"):
        path = tmp_path / seed
        subprocess.run(
            [sys.executable, "-m", "lskel", "gen", str(example("execsnoop")), "-o", str(path)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
        )
        outputs.append(path.read_bytes())
    assert outputs[0] == outputs[1] == outputs[2]
