"""Loader programs in the kernel: what verifying them costs, and running them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import lskel
from benchmarks.measure import Job, alternate, figure, ratio, seconds, table
from lskel.bpf.enums import Cmd, MapType, ProgType
from lskel.bpf.layouts import MAP_CREATE, PROG_LOAD
from lskel.errors import LskelError
from lskel.loader import context
from lskel.loader.header import parse_header
from lskel.runtime.loader import run_loader
from lskel.runtime.maps import update
from lskel.runtime.objects import Fd, prog_info
from lskel.runtime.syscall import BpfError, address_of, bpf, host_attr
from tests import corpus
from tests.build.clang import compile_bpf, example
from tests.selftests.reference import PATH

_LICENSE = b"Dual BSD/GPL\0"
_F_SLEEPABLE = 1 << 4

# As large as bpftool's loaders can be: they have room for 32 programs and 64 maps.
PROGRAMS, MAPS = 30, 60


class LoaderProgram(NamedTuple):
    """One generator's loader of an object."""

    insns: bytes
    blob: bytes
    maps: int
    programs: int


def loaders(scratch: Path, rounds: int) -> Iterator[str]:
    """BPF_PROG_LOAD of the loader programs, and the replay from the blob to the loaded programs."""
    objects = {
        "hello": example("hello"),
        "test_tunnel_kern": next(p for p in corpus.objects() if p.stem == "test_tunnel_kern"),
        f"{PROGRAMS} programs, {MAPS} maps": _large(scratch / "large.bpf.o"),
    }
    programs = {
        name: {"lskel": _by_lskel(path), "bpftool": _by_bpftool(path)}
        for name, path in objects.items()
    }
    yield "## The loader program in the kernel"
    yield ""
    yield (
        "Unrolled loaders. *Verified* is how many instructions the verifier looked at. *Replay* is "
        "all of it: blob map, BPF_PROG_LOAD, BPF_PROG_RUN, and giving the fds back. All in one "
        f"process; {rounds} rounds."
    )
    for what, job in (("BPF_PROG_LOAD", _load_job), ("Replay", _replay_job)):
        yield ""
        yield from _compared(what, programs, job, rounds)


def _compared(
    what: str,
    programs: Mapping[str, Mapping[str, LoaderProgram]],
    job: Callable[[LoaderProgram], Job],
    rounds: int,
) -> Iterator[str]:
    rows = []
    for name, pair in programs.items():
        try:
            measured = alternate({maker: job(made) for maker, made in pair.items()}, rounds)
        except LskelError as error:
            rows.append((name, "", "", "", str(error), ""))
            continue
        for maker, taken in measured.items():
            made = pair[maker]
            rows.append(
                (
                    name,
                    maker,
                    str(len(made.insns) // 8),
                    str(_verified(made)),
                    f"{ratio(taken, measured['bpftool']):.2f}",
                    figure(taken).text(),
                )
            )
    heads = ("object", "loader by", "insns", "verified", "time to bpftool's", f"{what}: median")
    yield from table(heads, rows)


def _by_lskel(path: Path) -> LoaderProgram:
    loader = lskel.generate(lskel.open_object(path))
    trace = loader.trace
    return LoaderProgram(loader.insns, loader.blob, len(trace.maps), len(trace.programs))


def _by_bpftool(path: Path) -> LoaderProgram:
    command = ["bpftool", "gen", "skeleton", "-L", str(path), "name", "x"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={"PATH": PATH})
    made = parse_header(done.stdout)
    return LoaderProgram(made.insns, made.blob, len(made.maps), len(made.programs))


def _large(path: Path) -> Path:
    source = "".join(
        f"struct {{ __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, int); "
        f'__type(value, long); }} m{number} SEC(".maps");\n'
        for number in range(MAPS)
    )
    source += "".join(
        f'SEC("raw_tp/sys_enter") int p{number}(void *ctx) {{ int key = 0; '
        f"return bpf_map_delete_elem(&m{2 * number}, &key) + "
        f"bpf_map_delete_elem(&m{2 * number + 1}, &key); }}\n"
        for number in range(PROGRAMS)
    )
    path.write_bytes(compile_bpf(source))
    return path


@contextmanager
def _blob_map(blob: bytes) -> Iterator[bytearray]:
    """A map with the blob; the fd_array for a loader that uses it."""
    attr = host_attr(
        MAP_CREATE,
        "map_flags",
        map_type=MapType.ARRAY,
        key_size=4,
        value_size=len(blob),
        max_entries=1,
    )
    with Fd(bpf(Cmd.MAP_CREATE, attr)) as fd:
        update(fd.fileno(), bytes(4), blob)
        yield bytearray(fd.fileno().to_bytes(4, sys.byteorder))


def _prog_load(insns: bytes, fds: bytearray) -> tuple[Fd, float]:
    attr = host_attr(
        PROG_LOAD,
        "fd_array",
        prog_type=ProgType.SYSCALL,
        insn_cnt=len(insns) // 8,
        insns=address_of(insns),
        license=address_of(_LICENSE),
        prog_flags=_F_SLEEPABLE,
        fd_array=address_of(fds),
    )
    made: list[int] = []
    taken = seconds(lambda: made.append(bpf(Cmd.PROG_LOAD, attr)))
    return Fd(made[0]), taken


def _load_job(program: LoaderProgram) -> Job:
    def job() -> float:
        with _blob_map(program.blob) as fds:
            fd, taken = _prog_load(program.insns, fds)
            fd.close()
            return taken

    return job


def _verified(program: LoaderProgram) -> int:
    with _blob_map(program.blob) as fds, _prog_load(program.insns, fds)[0] as fd:
        return prog_info(fd.fileno()).verified_insns


def _replay_job(program: LoaderProgram) -> Job:
    def job() -> float:
        ctx = bytearray(context.size(program.maps, program.programs))
        ctx[0:4] = len(ctx).to_bytes(4, sys.byteorder)

        def replay() -> None:
            value = run_loader(program.insns, program.blob, ctx).value
            if value:
                raise BpfError(Cmd.PROG_RUN, -value)
            offsets = [context.map_fd(slot) for slot in range(program.maps)]
            offsets += [context.program_fd(program.maps, slot) for slot in range(program.programs)]
            for offset in offsets:
                Fd(int.from_bytes(ctx[offset : offset + 4], sys.byteorder)).close()

        return seconds(replay)

    return job
