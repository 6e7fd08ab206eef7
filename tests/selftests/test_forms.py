"""The forms of loaders do the same: in the simulator call by call, in the kernel to the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import lskel
from lskel.bpf.enums import Cmd
from lskel.loader.model import Form, Loader
from lskel.replay.compare import differences
from lskel.replay.simulator.kernel import SimulatedKernel
from lskel.replay.simulator.run import run
from lskel.trace import AttachFd
from tests import corpus
from tests.loader.verified import processed
from tests.loads import load_by_loader
from tests.selftests.test_load import HANDS, SLOW
from tests.selftests.types import typed

pytestmark = [pytest.mark.corpus, pytest.mark.usefixtures("corpus_tools")]

# What the text of the walker may have, besides two instructions a map or program.
MOST_INSNS = 160
MOST_PROCESSED = 400


def forms(hand: int) -> Iterator[tuple[Path, Loader, Loader]]:
    """Objects, with their unrolled and table loaders."""
    for path in corpus.objects()[hand::HANDS]:
        try:
            trace = typed(path).trace()
        except lskel.LskelError:
            continue  # tests/selftests/test_generate.py
        if any(isinstance(asked, AttachFd) for asked in trace.inputs):
            continue  # needs a program that it attaches to
        yield path, lskel.generate(trace, Form.UNROLLED), lskel.generate(trace, Form.TABLE)


@pytest.mark.parametrize("hand", range(HANDS))
def test_same_calls(hand: int) -> None:
    compared = 0
    for path, unrolled, table in forms(hand):
        replays = [run(form, kernel=SimulatedKernel("little")) for form in (unrolled, table)]
        found = [str(d) for d in differences(*(replay.records for replay in replays))]
        assert not found, f"{path.name}: {found[:3]}"
        assert replays[0].value == replays[1].value
        results = len(table.trace.maps) + len(table.trace.programs)
        assert len(table.insns) // 8 <= MOST_INSNS + 2 * results, path.name
        assert sum(record.cmd == Cmd.PROG_LOAD for record in replays[1].records) <= len(
            table.trace.programs
        )
        compared += 1
    assert compared >= 20


def outcome(loader: Loader) -> str:
    """Empty where everything loads."""
    try:
        load_by_loader(loader).close()
    except lskel.LskelError as error:
        return str(error)
    return ""


@pytest.mark.kernel
@pytest.mark.parametrize("hand", range(HANDS))
def test_same_in_the_kernel(hand: int) -> None:
    loaded = 0
    for path, unrolled, table in forms(hand):
        if path.stem in SLOW:
            continue
        why = outcome(table)
        assert why == outcome(unrolled), path.name
        loaded += not why
    assert loaded >= 10


@pytest.mark.kernel
def test_work_of_the_verifier(tmp_path: Path) -> None:
    """The walker costs the verifier the same whatever the object; the largest differ by results."""
    for name in ("test_tunnel_kern", "pyperf600", "bpf_cubic", "test_global_func1"):
        path = next(path for path in corpus.objects() if path.stem == name)
        lskel.generate(typed(path), Form.TABLE).save(tmp_path / "x.lskel")
        assert processed(str(tmp_path / "x.lskel")) <= MOST_PROCESSED
