"""What lskel's loader leaves in the kernel is what bpftool's leaves; failures leave nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from difflib import unified_diff
from pathlib import Path

import pytest

import lskel
from lskel.bpf import context
from lskel.errors import ReplayError
from lskel.loader.header import parse_header
from lskel.loader.model import Loader
from lskel.replay.options import Options
from lskel.runtime.loader import run_loader
from lskel.runtime.objects import Fd
from lskel.skeleton.dynamic import DynamicCollection
from lskel.trace import AttachFd
from tests import corpus
from tests.conftest import open_fds
from tests.corpus import Corpus
from tests.loads import load_by_loader, load_directly
from tests.selftests.reference import (
    DIFFERENT,
    OVERFLOW,
    OVERFLOW_AFTER_FAILURE,
    MapFacts,
    ProgramFacts,
    each_corpus,
    generated_by_bpftool,
    map_facts,
    program_facts,
)

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.kernel,
    pytest.mark.usefixtures("corpus_tools"),
]

# Objects are dealt out to so many tests, which pytest-xdist runs side by side.
HANDS = 16

# The verifier takes 15 to 35 seconds for each of these; LSKEL_ALL=1 runs them too.
SLOW = frozenset({"loop3", "strobemeta_bpf_loop", "xdp_synproxy_kern"})

Fds = tuple[list[Fd], list[Fd]]


Run = Callable[[Loader], DynamicCollection]


def runs(bpffs: Path) -> tuple[Run, Run]:
    """A run in the kernel, and one by direct calls; each pins in a directory of its own."""
    ours, others = (Options(pin_root=bpffs / name) for name in ("kernel", "direct"))
    return (
        lambda loader: load_by_loader(loader, ours),
        lambda loader: load_directly(loader, others),
    )


@contextmanager
def by_bpftool(of: Corpus, path: Path, ours: Loader) -> Iterator[Fds | None]:
    """The fds that bpftool's loader makes when lskel's runner runs it; None where it fails."""
    header = generated_by_bpftool(of).get(path)
    if header is None or path.stem in OVERFLOW[of] | OVERFLOW_AFTER_FAILURE:
        yield None
        return
    skeleton = parse_header(header)
    maps = len(ours.trace.maps)
    # bpftool hands back loaded programs only, one after the other.
    programs = sum(program.autoload for program in ours.trace.programs)
    ctx = bytearray(context.size(maps, programs))
    ctx[0:4] = len(ctx).to_bytes(4, sys.byteorder)
    if run_loader(skeleton.insns, skeleton.blob, ctx).value != 0:
        yield None
        return
    with ExitStack() as stack:

        def fd(offset: int) -> Fd:
            number = int.from_bytes(ctx[offset : offset + 4], sys.byteorder)
            return stack.enter_context(Fd(number))

        yield (
            [fd(context.map_fd(slot)) for slot in range(maps)],
            [fd(context.program_fd(maps, slot)) for slot in range(programs)],
        )


def compare(ours: DynamicCollection, theirs: Fds) -> str:
    """The first difference."""
    maps, programs = theirs
    mine = list(ours.maps), [program for program in ours.progs if program.loaded]
    pairs: list[tuple[MapFacts | ProgramFacts, MapFacts | ProgramFacts]] = [
        (map_facts(a), map_facts(b)) for a, b in zip(mine[0], maps, strict=True)
    ]
    pairs += [
        (program_facts(a, mine[0]), program_facts(b, maps))
        for a, b in zip(mine[1], programs, strict=True)
    ]
    return next((difference(a, b) for a, b in pairs if a != b), "")


def difference(ours: MapFacts | ProgramFacts, theirs: MapFacts | ProgramFacts) -> str:
    """The lines that differ, with a sign before each."""
    sides = [[f"{key}={value}" for key, value in side._asdict().items()] for side in (ours, theirs)]
    mine, others = ("\n".join(side).splitlines() for side in sides)
    lines = unified_diff(mine, others, "lskel", "bpftool", lineterm="", n=0)
    return "\n".join(line for line in lines if not line.startswith("@@"))


def failure(run: Run, loader: Loader) -> tuple[int | None, int] | str | None:
    """The operation that failed and its errno, or what the kernel lacks; None if all went well."""
    before = open_fds()
    try:
        run(loader).close()
    except ReplayError as error:
        assert open_fds() == before
        return error.op, error.errno
    except lskel.NotSupported as error:
        return error.what
    return None


@each_corpus
@pytest.mark.parametrize("hand", range(HANDS))
def test_as_bpftool(of: Corpus, hand: int, bpffs: Path) -> None:
    """Where bpftool's loader succeeds, lskel's does, and direct replay: the same maps, programs.

    Where the kernel rejects something, both replays name the same operation and leave no fd.
    """
    wrong = []
    equal = failed = 0
    in_kernel, directly = runs(bpffs)
    for path in corpus.objects(of)[hand::HANDS]:
        if path.stem in SLOW and not os.environ.get("LSKEL_ALL"):
            continue
        try:
            loader = lskel.generate(lskel.open_object(path))
        except lskel.LskelError:
            assert path not in generated_by_bpftool(of), path.name
            continue
        if any(isinstance(asked, AttachFd) for asked in loader.trace.inputs):
            continue  # needs a program that it attaches to
        with by_bpftool(of, path, loader) as theirs:
            if theirs is None:
                results = failure(in_kernel, loader), failure(directly, loader)
                if results[0] != results[1] or (results[0] and results[0][0] is None):
                    wrong.append(f"{path.name}: {results}")
                failed += results[0] is not None
                continue
            for run in (in_kernel, directly):
                try:
                    with run(loader) as bpf:
                        difference = compare(bpf, theirs)
                    # Not all that differs in the calls shows in what they leave.
                    if difference and path.stem not in DIFFERENT[of]:
                        wrong.append(f"{path.name}: {difference}")
                except ReplayError as error:
                    wrong.append(f"{path.name}: {error}")
            equal += 1
    print(f"{equal} objects as bpftool loads them, {failed} rejected by the kernel")
    assert not wrong
    assert equal >= 10 and failed >= 1
