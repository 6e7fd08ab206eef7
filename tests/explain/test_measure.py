"""Durations, of replays in the running kernel, which leave nothing behind."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from lskel.errors import NoPermission, ReplayError, UsageError
from lskel.explain import measure as measuring
from lskel.explain.build import ReportExtras, ReportInput, explain
from lskel.explain.measure import REPEATS
from lskel.explain.report import Measurement
from lskel.replay.direct import CallByCall
from lskel.replay.options import Options
from lskel.runtime.syscall import BpfError
from lskel.skeleton.dynamic import collection_of
from tests.build.clang import compile_bpf, example
from tests.conftest import Run
from tests.explain.samples import PINNED, REFUSED, UNTYPED, given
from tests.loads import load_directly

pytestmark = pytest.mark.kernel


def measured(found: ReportInput, options: Options | None = None) -> Measurement:
    report = explain(found, ReportExtras(options or Options(), measure=True))
    assert report.measurement is not None
    return report.measurement


def left(bpffs: Path) -> list[str]:
    """What is in a bpffs that the kernel has not put there itself."""
    return [path.name for path in bpffs.iterdir() if path.suffix != ".debug"]


@pytest.mark.parametrize("name", ["hello", "syscount", "execsnoop", "iptop"])
def test_every_operation_has_a_time(name: str) -> None:
    found = given(example(name))
    assert found.loader is not None
    result = measured(found)
    assert result.failure is None
    assert (result.release, result.machine) == (platform.release(), platform.machine())
    assert [time.op for time in result.times] == list(range(len(found.loader.trace.ops)))
    assert 1 <= result.repeats <= REPEATS
    assert all(0 <= time.shortest <= time.median <= time.longest for time in result.times)
    assert 0 < result.total <= sum(time.longest for time in result.times)
    assert any(time.median for time in result.times)


def test_what_is_switched_off_has_none() -> None:
    found = given(example("hello"))
    result = measured(found, Options(autoload={"hello": False}))
    kinds = [type(found.loader.trace.ops[t.op]).__name__ for t in result.times if found.loader]
    assert "MapCreate" in kinds and "ProgLoad" not in kinds


def test_failure_has_the_kernels_log(run: Run, bpffs: Path, tmp_path: Path) -> None:
    found = given(REFUSED)
    assert found.loader is not None
    result = measured(found)
    failure = result.failure
    assert failure is not None and failure.op is not None
    report = explain(found)
    assert report.ops[failure.op].title == "ProgLoad 'count'"
    assert failure.errno == "EACCES"
    assert [time.op for time in result.times] == list(range(failure.op))
    # libbpf, by bpftool, is told the same.
    obj = tmp_path / "refused.o"
    obj.write_bytes(compile_bpf(REFUSED))
    try:
        run("bpftool", "prog", "loadall", obj, bpffs / "refused")
    except AssertionError as error:
        theirs = str(error)
    verdict = "R0 invalid mem access 'map_value_or_null'"
    assert verdict in theirs
    assert verdict in failure.log and verdict in failure.message
    assert failure.explanation[0].startswith("error[null-check]")


def test_no_pin_is_made(bpffs: Path) -> None:
    found = given(PINNED)
    options = Options(pin_root=bpffs / "pins")
    assert measured(found, options).failure is None
    assert left(bpffs) == []


def test_a_pin_that_is_there_is_used_and_stays(bpffs: Path) -> None:
    found = given(PINNED)
    assert found.loader is not None
    options = Options(pin_root=bpffs)
    with load_directly(found.loader, options):
        made = next(n for n, op in enumerate(explain(found).ops) if op.kind == "MapCreate")
        result = measured(found, options)
    assert result.failure is None
    assert made not in [time.op for time in result.times]
    assert left(bpffs) == ["shared"]


def test_what_the_machine_lacks_is_part_of_the_answer() -> None:
    source = """
    extern int CONFIG_NO_SUCH_THING __kconfig;
    SEC("raw_tp/sys_enter") int use(void *ctx) { return CONFIG_NO_SUCH_THING; }
    """
    result = measured(given(source))
    assert result.failure is not None and result.failure.op is None
    assert "CONFIG_NO_SUCH_THING" in result.failure.message
    assert result.times == ()


def test_wrong_options_are_errors() -> None:
    with pytest.raises(UsageError, match="no map 'nope'"):
        measured(given(example("hello")), Options(max_entries={"nope": 1}))


def test_without_a_loader_nothing_is_measured() -> None:
    assert explain(given(UNTYPED), ReportExtras(measure=True)).measurement is None


def test_without_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(cmd: int, _: bytearray) -> int:
        raise BpfError(cmd, 1)

    monkeypatch.setattr(measuring, "bpf", refuse)
    with pytest.raises(NoPermission, match="hello: cannot create a map"):
        measured(given(example("hello")))


def test_observer_is_told_what_succeeded() -> None:
    found = given(REFUSED)
    assert found.loader is not None
    trace = found.loader.trace
    seen: list[int] = []
    kernel = CallByCall(trace, observe=lambda number, _: seen.append(number))
    with pytest.raises(ReplayError, match="invalid mem access"):
        collection_of(trace, kernel=kernel).rehearse()
    assert seen == list(range(len(seen))) and seen
