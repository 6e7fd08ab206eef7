"""lskel doctor OBJ: it says what loading then does, all that is in the way, and leaves nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import lskel
from lskel.bpf.enums import MapType
from lskel.cli import main
from lskel.doctor.object import ObjectReport, examine_object
from lskel.replay.options import Options
from lskel.runtime.objects import obj_pin
from lskel.runtime.permissions import Capability
from lskel.verifier.logs import find_logs
from tests import corpus
from tests.build.clang import compile_bpf, example
from tests.conftest import Run
from tests.doctor.confined import as_nobody, with_capabilities
from tests.doctor.exercise import check, would_load
from tests.doctor.left import nothing_left
from tests.doctor.test_report import COMMAND, interrupt
from tests.loads import load_by_loader, load_directly
from tests.runtime.programs import create_map
from tests.selftests.test_load import SLOW

pytestmark = pytest.mark.kernel

# Every so many objects; LSKEL_ALL=1 takes all.
STEP = 12

MUCH_WRONG = """
extern int CONFIG_NO_SUCH __kconfig;
extern void no_such_kfunc(void) __ksym;
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 4);
    __type(key, int);
    __type(value, int);
} counts SEC(".maps");
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 0xffffffff);
    __uint(map_flags, 1 << 30);
    __type(key, int);
    __type(value, int);
} strange SEC(".maps");
int sum;
SEC("socket") int wrong(void *ctx)
{
    int key = 0;
    int *value = bpf_map_lookup_elem(&counts, &key);
    return *value;
}
SEC("socket") int wrong_too(void *ctx) { return *(int *)(ctx + 1000); }
SEC("tc") int calls(void *ctx) { no_such_kfunc(); return 0; }
SEC("socket") int right(void *ctx) { return sum + CONFIG_NO_SUCH; }
SEC("socket") int uses(void *ctx)
{
    int key = 0;
    return bpf_map_lookup_elem(&strange, &key) != 0;
}
SEC("?socket") int optional(void *ctx) { return 0; }
SEC("tp_btf") int nowhere(void *ctx) { return 0; }
SEC("tp_btf/no_such_tracepoint") int elsewhere(void *ctx) { return 0; }
"""
PINNED = """
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, int);
    __type(value, int);
    __uint(pinning, LIBBPF_PIN_BY_NAME);
} shared SEC(".maps");
SEC("socket") int reads(void *ctx)
{
    int key = 0;
    int *value = bpf_map_lookup_elem(&shared, &key);
    return value ? *value : 0;
}
"""


def loader(source: str, name: str = "obj") -> lskel.Loader:
    return lskel.generate(lskel.open_object(compile_bpf(source), name=name))


def found(report: ObjectReport) -> dict[tuple[str, str], str | None]:
    return {
        (item.what.value, item.name): item.finding.answer and item.finding.answer.value
        for item in report.items
    }


def need(report: ObjectReport, id_: str) -> tuple[str | None, str]:
    """The answer of a line of what the object needs, and what it says."""
    (finding,) = (line.finding for line in report.needs if line.id == id_)
    return finding.answer and finding.answer.value, finding.said


def test_all_that_is_in_the_way() -> None:
    with nothing_left():
        report = examine_object(loader(MUCH_WRONG))
    assert not report.loads
    assert found(report) == {
        ("kconfig", ""): "no",
        ("extern", "no_such_kfunc"): "no",
        ("extern", "btf_trace_no_such_tracepoint"): "no",
        ("map", "counts"): "yes",
        ("map", "strange"): "no",
        ("map", "obj.bss"): "yes",
        ("map", "obj.kconfig"): "yes",
        ("program", "wrong"): "no",
        ("program", "wrong_too"): "no",
        ("program", "calls"): "unknown",
        ("program", "right"): "yes",
        ("program", "uses"): "unknown",
        ("program", "optional"): None,
        ("program", "nowhere"): "no",
        ("program", "elsewhere"): "unknown",
    }
    by_name = {item.name: item for item in report.items}
    assert "needs map 'strange'" in by_name["uses"].finding.said
    assert "needs extern 'no_such_kfunc'" in by_name["calls"].finding.said
    assert by_name["wrong"].finding.said.endswith("invalid mem access 'map_value_or_null'")
    assert "--kconfig" in by_name[""].finding.remedy
    assert "--target nowhere=" in by_name["nowhere"].finding.remedy
    error = by_name["wrong"].error
    assert error is not None and any("R0" in line for line in error.log)


def test_what_is_in_the_way_can_be_left_out() -> None:
    """What doctor found is all that available: without it the object loads."""
    wrong = ("wrong", "wrong_too", "calls", "elsewhere")
    obj = lskel.open_object(compile_bpf(MUCH_WRONG.replace("__uint(map_flags, 1 << 30);", "")))
    for name in wrong:
        obj = obj.with_program(name, autoload=False)
    options = Options(
        kconfig={"CONFIG_NO_SUCH": "1"},
        targets={"nowhere": "sched_switch"},
        max_entries={"strange": 1},
    )
    made = lskel.generate(obj)
    assert examine_object(made, options).loads
    load_by_loader(made, options).close()
    assert not examine_object(made, Options(kconfig=options.kconfig)).loads


@pytest.mark.corpus
@pytest.mark.usefixtures("corpus_tools")
def test_the_corpus_as_loading_does() -> None:
    paths = corpus.objects()[:: 1 if os.environ.get("LSKEL_ALL") else STEP]
    refused = loaded = 0
    with nothing_left():
        for path in paths:
            if path.stem in SLOW:
                continue
            try:
                lskel.generate(lskel.open_object(path))
            except lskel.LskelError:
                continue  # not even `lskel gen` takes it
            outcome = would_load(str(path))
            check(outcome)
            loaded += outcome.load == ""
            refused += outcome.load != ""
    assert loaded >= 10 and refused >= 3


@pytest.mark.corpus
@pytest.mark.usefixtures("corpus_tools")
def test_struct_ops_are_not_registered() -> None:
    path = next(path for path in corpus.objects() if path.stem == "bpf_dctcp")
    report = examine_object(lskel.generate(lskel.open_object(path)))
    assert report.loads
    known = Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split()
    assert "bpf_dctcp" not in known


# -- pins ------------------------------------------------------------------------------------------


def pins(bpffs: Path) -> list[str]:
    """What is there, but for what the kernel itself puts there."""
    return [path.name for path in bpffs.iterdir() if path.suffix != ".debug"]


def test_nothing_is_pinned(bpffs: Path) -> None:
    report = examine_object(loader(PINNED), Options(pin_root=bpffs))
    assert report.loads
    assert not pins(bpffs)
    report = examine_object(loader(PINNED), Options(pin_root=bpffs / "new" / "place"))
    assert report.loads
    assert need(report, "files.bpffs") == ("yes", str(bpffs / "new" / "place"))
    assert not pins(bpffs)


def test_what_is_pinned_is_used(bpffs: Path) -> None:
    with create_map(MapType.ARRAY, 4, 4, 1) as there:
        obj_pin(there.fileno(), bpffs / "shared")
    assert examine_object(loader(PINNED), Options(pin_root=bpffs)).loads
    assert pins(bpffs) == ["shared"]


def test_another_map_is_pinned(bpffs: Path) -> None:
    with create_map(MapType.ARRAY, 4, 8, 1) as there:
        obj_pin(there.fileno(), bpffs / "shared")
    report = examine_object(loader(PINNED), Options(pin_root=bpffs))
    assert found(report) == {("map", "shared"): "no", ("program", "reads"): "unknown"}
    assert "value_size 4, pinned 8" in report.items[0].finding.said


def test_pins_cannot_be_made(bpffs: Path, run: Run) -> None:
    run("mount", "-o", "remount,ro", bpffs)
    report = examine_object(loader(PINNED), Options(pin_root=bpffs))
    assert not report.loads
    assert "not writable" in str(report.error)
    with pytest.raises(lskel.LskelError):
        load_by_loader(loader(PINNED), Options(pin_root=bpffs))


def test_no_place_for_pins(tmp_path: Path) -> None:
    report = examine_object(loader(PINNED), Options(pin_root=tmp_path))
    assert need(report, "files.bpffs") == ("no", f"not mounted at {tmp_path}")
    assert found(report) == {("map", "shared"): "no", ("program", "reads"): "unknown"}


# -- who asks --------------------------------------------------------------------------------------


def test_as_nobody() -> None:
    made = loader(PINNED.replace("__uint(pinning, LIBBPF_PIN_BY_NAME);", ""))
    examine_object(made)  # what it imports, nobody might not be able to
    report: dict[str, Any] = as_nobody(lambda: _plain(examine_object(made)))
    assert report["loads"] is False
    assert report["answers"] == {"unknown"}
    assert "CAP_BPF" in report["error"]


def test_with_cap_bpf_alone() -> None:
    """The loader program takes CAP_PERFMON, too; a socket filter does not."""
    made = loader('SEC("socket") int p(void *c) { return 0; }')

    def ask(*, direct: bool) -> dict[str, Any]:
        def run() -> dict[str, Any]:
            return _plain(examine_object(made, direct=direct))

        return with_capabilities((Capability.BPF,), run)

    assert examine_object(made, direct=True).form is None  # and imports what is needed
    by_loader = ask(direct=False)
    assert by_loader["loads"] is False
    assert "CAP_PERFMON" in by_loader["remedy"]
    assert by_loader["remedy"].endswith("; or try --replay direct")
    assert ask(direct=True)["loads"] is True
    with_capabilities((Capability.BPF,), lambda: load_directly(made).close())


def test_directly() -> None:
    """The same is in the way; of loader programs nothing is needed."""
    made = loader(MUCH_WRONG)
    report = examine_object(made, direct=True)
    assert found(report) == found(examine_object(made))
    with pytest.raises(lskel.LskelError) as caught:
        load_directly(made)
    assert str(report.error) == str(caught.value)
    assert not [line.id for line in report.needs if line.id.startswith("loader.")]


def _plain(report: ObjectReport) -> dict[str, Any]:
    answers = {item.finding.answer.value for item in report.items if item.finding.answer}
    remedy = report.items[0].finding.remedy
    error = str(report.error)
    return {"loads": report.loads, "answers": answers, "error": error, "remedy": remedy}


# -- the command -----------------------------------------------------------------------------------


def test_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["doctor", str(example("hello"))]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "hello would load here"
    bundle = tmp_path / "wrong.lskel"
    loader(MUCH_WRONG, "wrong").save(bundle)
    assert main(["doctor", str(bundle)]) == 1
    out = capsys.readouterr().out
    assert "no  map  strange: " in out
    assert out.splitlines()[-1].startswith("wrong would not load here: kconfig, extern ")


def test_log(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "wrong.bpf.o"
    path.write_bytes(compile_bpf(MUCH_WRONG))
    assert main(["doctor", "-v", str(path)]) == 1
    assert "R0 invalid mem access 'map_value_or_null'" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("options", [[], ["-v"], ["--json"], ["--json", "-v"]])
def test_log_file(options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The logs of all programs that are refused, as `lskel verifier-log` takes them."""
    path, log = tmp_path / "wrong.bpf.o", tmp_path / "log"
    path.write_bytes(compile_bpf(MUCH_WRONG))
    assert main(["doctor", str(path), "--log-file", str(log), *options]) == 1
    logs = {found.program: found.lines for found in find_logs(log.read_text())}
    assert list(logs) == ["wrong", "wrong_too"]
    assert "R0 invalid mem access 'map_value_or_null'" in logs["wrong"]


def test_refused_programs_are_explained(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "wrong.bpf.o"
    path.write_bytes(compile_bpf(MUCH_WRONG))
    assert main(["doctor", str(path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("error[null-check]: ") for line in lines) == 1
    assert any(line.strip().startswith("-> Check the pointer for NULL") for line in lines)


def test_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "wrong.bpf.o"
    path.write_bytes(compile_bpf(MUCH_WRONG))
    assert main(["doctor", "--json", str(path), "--kconfig", "CONFIG_NO_SUCH=1"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["object"] == "wrong" and report["loads"] is False
    assert {need["id"] for need in report["needs"]} >= {"loader.btf_find", "files.kconfig"}
    (item,) = (item for item in report["items"] if item["name"] == "wrong")
    assert item["what"] == "program" and item["answer"] == "no" and "log" not in item


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--max-entries", "nothing=3"], "no map 'nothing'"),
        (["--kconfig", "CONFIG_HZ=3"], "it uses no kconfig values"),
    ],
)
def test_wrong_options(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(example("hello")), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_other_byte_order(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "big.bpf.o"
    path.write_bytes(compile_bpf('SEC("socket") int p(void *c) { return 0; }', big_endian=True))
    assert main(["doctor", str(path)]) == 1
    out = capsys.readouterr().out
    assert "big-endian" in out and out.endswith("big would not load here: loader\n")


@pytest.mark.parametrize("tenths", range(3, 11))
def test_interrupted(tenths: int, bpffs: Path, tmp_path: Path) -> None:
    path = tmp_path / "pinned.bpf.o"
    path.write_bytes(compile_bpf(PINNED + MUCH_WRONG))
    place = bpffs / "new" / "place"
    with nothing_left():
        interrupt((*COMMAND, str(path), "--pin-root", str(place)), tenths / 10)
    assert not pins(bpffs)
