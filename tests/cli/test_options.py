"""The options that several commands share: what they change, and what they say to mistakes."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lskel.bpf.enums import AttachType, ProgType
from lskel.cli import main
from lskel.cli.status import FAILURES, Status
from lskel.loader.model import Loader
from tests import corpus
from tests.build.clang import compile_bpf, example
from tests.cli.terminals import LSKEL

SAMPLE = """
extern int CONFIG_HZ __kconfig;
extern enum libbpf_tristate CONFIG_IPV6 __kconfig __attribute__((weak));
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, int);
	__type(value, int);
} counts SEC(".maps");

SEC("raw_tp/sys_enter") int on_enter(void *context)
{
	int key = CONFIG_HZ + CONFIG_IPV6;

	bpf_map_delete_elem(&counts, &key);
	return 0;
}

SEC("?raw_tp/sys_exit") int on_exit(void *context) { return 0; }
SEC("fentry") int on_call(void *context) { return 0; }
SEC("mine") int typed(void *context) { return 0; }
"""
STRUCT_OPS = """
struct tcp_congestion_ops { void (*release)(void *); unsigned (*ssthresh)(void *); };
SEC("struct_ops/release") void release(void *socket) {}
SEC("struct_ops/ssthresh") unsigned ssthresh(void *socket) { return 2; }
SEC(".struct_ops") struct tcp_congestion_ops usual = {.release = release};
SEC("?.struct_ops") struct tcp_congestion_ops spare = {.ssthresh = ssthresh};
"""
PINNED = """
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, int);
	__type(value, int);
} shared SEC(".maps");
"""
TYPED = ("--type", "typed=xdp")
COMPLETE = (*TYPED, "--target", "on_call=do_unlinkat")
# All that take an object or a bundle; `gen` takes no bundle.
COMMANDS = ("load", "run", "trace", "diff", "inspect", "disasm")


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "sample.bpf.o"
    path.write_bytes(compile_bpf(SAMPLE))
    return path


@pytest.fixture
def bundle(sample: Path, tmp_path: Path) -> Path:
    path = tmp_path / "sample.lskel"
    assert main(["gen", str(sample), "-o", str(path), *TYPED]) == 0
    return path


def fails(capsys: pytest.CaptureFixture[str], *args: str | Path) -> str:
    """The one line that a command says when it fails, without output."""
    assert main([str(arg) for arg in args]) == FAILURES.get(str(args[0]), Status.FAILURE)
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1 and shown.err.startswith("lskel: ")
    return shown.err.removeprefix("lskel: ").rstrip("\n")


def calls(capsys: pytest.CaptureFixture[str], *args: str | Path) -> list[dict[str, Any]]:
    """What `lskel trace` shows."""
    assert main(["trace", *map(str, args), "--json"]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def programs(capsys: pytest.CaptureFixture[str], *args: str | Path) -> dict[str, dict[str, Any]]:
    """The attrs that load programs, by name."""
    attrs = (call["attr"] for call in calls(capsys, *args) if call["cmd"] == "BPF_PROG_LOAD")
    return {attr["prog_name"]: attr for attr in attrs}


# -- --type ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "type_", "attach"),
    [
        ("sk_skb", ProgType.SK_SKB, 0),
        ("SK_SKB:sk_skb_stream_verdict", ProgType.SK_SKB, AttachType.SK_SKB_STREAM_VERDICT),
        ("BPF_PROG_TYPE_XDP:BPF_XDP_DEVMAP", ProgType.XDP, AttachType.XDP_DEVMAP),
        ("bpf_prog_type_cgroup_skb:cgroup_inet_ingress", ProgType.CGROUP_SKB, 0),
    ],
)
def test_type(
    capsys: pytest.CaptureFixture[str], sample: Path, said: str, type_: ProgType, attach: int
) -> None:
    given = ("--type", f"typed={said}", "--target", "on_call=do_unlinkat")
    loaded = programs(capsys, sample, *given)["typed"]
    assert (loaded["prog_type"], loaded.get("expected_attach_type", 0)) == (type_, attach)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("typed", "--type: expected PATTERN=TYPE[:ATTACH], got 'typed'"),
        ("=xdp", "--type: expected PATTERN=TYPE[:ATTACH], got '=xdp'"),
        ("typed=sk_skbb", "no program type 'sk_skbb' (available: sk_skb, sk_msg)"),
        ("typed=unspec", "no program type 'unspec'"),
        ("typed=42", "no program type '42' (available: socket_filter, kprobe, "),
        (
            "typed=sk_skb:nope",
            "no attach type 'nope' (available: sk_skb_stream_parser, "
            "sk_skb_stream_verdict, sk_skb_verdict)",
        ),
        ("typed=xdp:", "no attach type '' (available: xdp, xdp_cpumap, xdp_devmap)"),
        ("nobody=xdp", "sample.bpf.o: --type: no program 'nobody' (available: on_enter"),
        (
            "on_enter=xdp",
            "'on_enter' has type raw_tracepoint by its section name 'raw_tp/sys_enter'",
        ),
        ("typed=tracing:trace_fentry", "type tracing needs an attach target in the section name"),
        ("on_call=tracing", "type tracing needs an attach target in the section name"),
        ("typed=struct_ops", "type struct_ops needs an attach target in the section name"),
    ],
)
def test_bad_types(
    capsys: pytest.CaptureFixture[str], sample: Path, tmp_path: Path, said: str, message: str
) -> None:
    out = tmp_path / "x.lskel"
    assert message in fails(capsys, "gen", sample, "-o", out, "--type", said)
    assert not out.exists()


OTHERS = """
SEC("classifier/in") int in(void *context) { return 0; }
SEC("classifier/out") int out(void *context) { return 0; }
SEC("?classifier/off") int off(void *context) { return 0; }
SEC("xdp_sock") int sock(void *context) { return 0; }
SEC("socket/http") int http(void *context) { return 0; }
SEC("from-container") int own(void *context) { return 0; }
SEC("xdp") int known(void *context) { return 0; }
"""


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An object with section names of other loaders."""
    path = tmp_path_factory.mktemp("others") / "others.bpf.o"
    path.write_bytes(compile_bpf(OTHERS))
    return path


def test_types_by_pattern(capsys: pytest.CaptureFixture[str], others: Path) -> None:
    given = ("classifier/*=sched_cls", "?ock=xdp", "*=socket_filter", "http=sk_msg")
    said = [word for text in given for word in ("--type", text)]
    loaded = programs(capsys, others, *said, "--autoload", "off")
    assert {name: attr["prog_type"] for name, attr in loaded.items()} == {
        "in": ProgType.SCHED_CLS,
        "out": ProgType.SCHED_CLS,
        "off": ProgType.SCHED_CLS,
        "sock": ProgType.XDP,
        "http": ProgType.SK_MSG,
        "own": ProgType.SOCKET_FILTER,
        "known": ProgType.XDP,
    }
    error = fails(capsys, "trace", others, "--type", "x*=sk_msg")
    assert "4 programs" in error and "'sock'" not in error
    error = fails(capsys, "trace", others, "--type", "n*=xdp")
    assert "no program 'n*' (available: in, out" in error
    error = fails(capsys, "trace", others, "--type", "know*=sk_msg")
    assert "program 'known' has type xdp by its section name 'xdp'" in error


def test_all_without_a_type_are_said(capsys: pytest.CaptureFixture[str], others: Path) -> None:
    error = fails(capsys, "load", others)
    assert (
        "5 programs have section names with no known program type: 'in' (classifier/in), "
        "'out' (classifier/out), 'sock' (xdp_sock), 'http' (socket/http), "
        "'own' (from-container) (set the type: "
    ) in error
    line = error.partition("set the type: ")[2].partition(", or use")[0]
    assert line == (
        "--type 'classifier/*=sched_cls' --type xdp_sock=xdp:xdp "
        "--type 'socket/*=socket_filter' --type from-container=TYPE[:ATTACH]"
    )
    given = shlex.split(line.replace("TYPE[:ATTACH]", "sched_act"))
    assert {name: attr["prog_type"] for name, attr in programs(capsys, others, *given).items()} == {
        "in": ProgType.SCHED_CLS,
        "out": ProgType.SCHED_CLS,
        "sock": ProgType.XDP,
        "http": ProgType.SOCKET_FILTER,
        "own": ProgType.SCHED_ACT,
        "known": ProgType.XDP,
    }


def test_type_twice(capsys: pytest.CaptureFixture[str], sample: Path) -> None:
    error = fails(capsys, "trace", sample, *TYPED, "--type", "typed=kprobe")
    assert error == "--type: 'typed' given twice: as xdp and as kprobe"


def test_without_a_type(capsys: pytest.CaptureFixture[str], sample: Path) -> None:
    error = fails(capsys, "load", sample)
    assert "section name 'mine' has no known program type (set the type: --type typed=TYPE" in error
    loaded = programs(capsys, sample, "--no-autoload", "typed", *COMPLETE[2:])
    assert list(loaded) == ["on_enter", "on_call"]


# -- generated already -----------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_bundles_are_generated_already(
    capsys: pytest.CaptureFixture[str], bundle: Path, command: str
) -> None:
    sources = [bundle, bundle] if command == "diff" else [bundle]
    error = fails(capsys, command, *sources, *TYPED)
    assert error == (
        f"{bundle}: --type cannot change a bundle: it is already generated "
        "(use the object it was generated from)"
    )
    if command == "disasm":
        sources.append(Path("--loader"))
    if command != "inspect":
        assert "--debug cannot change a bundle" in fails(capsys, command, *sources, "--debug")


@pytest.mark.parametrize("command", ["inspect", "disasm"])
def test_bundles_are_shown_as_they_are(
    capsys: pytest.CaptureFixture[str], bundle: Path, command: str
) -> None:
    error = fails(capsys, command, bundle, "--autoload", "on_exit", "--no-autoload", "on_enter")
    assert "--autoload, --no-autoload cannot change a bundle" in error


def test_what_is_for_one_object(
    capsys: pytest.CaptureFixture[str], sample: Path, tmp_path: Path
) -> None:
    many = ("gen", sample, example("hello"), "-o", f"{tmp_path}/out/")
    error = fails(capsys, *many, *TYPED, "--name", "x")
    assert error == "--name, --type: only for one object (run gen for each)"
    assert "--no-autoload: only for one" in fails(capsys, *many, "--no-autoload", "hello")


def test_diff_of_an_object_and_what_it_became(
    capsys: pytest.CaptureFixture[str], sample: Path, bundle: Path
) -> None:
    assert main(["diff", str(bundle), str(sample), *COMPLETE]) == 0
    assert main(["diff", str(sample), str(bundle), *COMPLETE, "--kconfig", "CONFIG_HZ=7"]) == 0
    capsys.readouterr()
    assert main(["diff", str(sample), str(bundle), *COMPLETE, "--no-autoload", "on_enter"]) == 1
    assert "only in B" in capsys.readouterr().out


# -- --autoload, --no-autoload ---------------------------------------------------------------


def test_autoload_of_what_is_generated(
    capsys: pytest.CaptureFixture[str], sample: Path, tmp_path: Path
) -> None:
    choice = ("--autoload", "on_exit", "--no-autoload", "on_enter", "--no-autoload", "on_call")
    out = tmp_path / "x.lskel"
    assert main(["gen", str(sample), "-o", str(out), *TYPED, *choice, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["programs"] == 2
    trace = Loader.load(out).trace
    assert [program.autoload for program in trace.programs] == [False, True, False, True]
    assert list(programs(capsys, out)) == ["on_exit", "typed"]
    # What the bundle says is not the last word.
    assert list(programs(capsys, out, "--autoload", "on_enter", "--no-autoload", "typed")) == [
        "on_enter",
        "on_exit",
    ]


@pytest.mark.parametrize("replay", ["kernel", "direct", "simulator"])
@pytest.mark.kernel
def test_autoload_of_what_is_loaded(
    capsys: pytest.CaptureFixture[str], sample: Path, bundle: Path, replay: str
) -> None:
    choice = ("--autoload", "on_exit", "--no-autoload", "on_enter", "--no-autoload", "on_call")
    for source in ([sample, *TYPED], [bundle]):
        args = [*map(str, source), *choice, "--kconfig", "CONFIG_HZ=1", "--kconfig"]
        assert main(["load", *args, "CONFIG_IPV6=n", "--replay", replay, "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert [program["name"] for program in report["programs"]] == ["on_exit", "typed"]


def test_bad_autoload(capsys: pytest.CaptureFixture[str], sample: Path, bundle: Path) -> None:
    for source in (sample, bundle):
        error = fails(capsys, "load", source, "--autoload", "typed", "--no-autoload", "typed")
        assert error == "'typed': both --autoload and --no-autoload"
    error = fails(capsys, "load", sample, "--autoload", "nobody")
    assert f"{sample}: --autoload: no program or struct_ops map 'nobody'" in error
    assert "(available: on_enter, on_exit, on_call, typed)" in error
    # Maps are no struct_ops maps.
    assert "'counts'" in fails(capsys, "load", sample, "--no-autoload", "counts")
    error = fails(capsys, "load", bundle, "--no-autoload", "nobody")
    assert "no program 'nobody' (available: on_enter, on_exit, on_call, typed)" in error


def test_what_no_loader_was_generated_for(
    capsys: pytest.CaptureFixture[str], sample: Path, tmp_path: Path
) -> None:
    out = tmp_path / "x.lskel"
    assert main(["gen", str(sample), "-o", str(out), "--no-autoload", "typed"]) == 0
    error = fails(capsys, "load", out, "--autoload", "typed")
    assert "program 'typed' cannot be loaded: the loader was generated without it" in error


def test_struct_ops(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "ops.o"
    path.write_bytes(compile_bpf(STRUCT_OPS))

    def made(*options: str) -> tuple[list[str], list[str]]:
        found = calls(capsys, path, *options)
        maps = [c["attr"]["map_name"] for c in found if c["cmd"] == "BPF_MAP_CREATE"]
        loads = [c["attr"]["prog_name"] for c in found if c["cmd"] == "BPF_PROG_LOAD"]
        return maps, loads

    assert made() == (["usual"], ["release"])
    assert made("--autoload", "spare") == (["usual", "spare"], ["release", "ssthresh"])
    switched = ("--autoload", "spare", "--no-autoload", "usual")
    assert made(*switched) == (["spare"], ["ssthresh"])
    assert main(["inspect", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "not created by default" in shown
    assert "size of struct bpf_struct_ops_tcp_congestion_ops" in shown
    assert ["usual", "tcp_congestion_ops", "release", "release"] in map(
        str.split, shown.splitlines()
    )
    error = fails(capsys, "trace", path, "--autoload", "nobody")
    assert "(available: release, ssthresh, usual, spare)" in error


# -- --kconfig, --target, --max-entries, --pin-root --------------------------------------------


def test_kconfig(capsys: pytest.CaptureFixture[str], bundle: Path) -> None:
    def value(*options: str) -> str:
        *_, target = COMPLETE
        found = calls(capsys, bundle, "--target", target, *options)
        (text,) = [c["attr"]["value"] for c in found if c["cmd"] == "BPF_MAP_UPDATE_ELEM"]
        return str(text)

    assert value() == "0000000000000000"
    assert value("--kconfig", "CONFIG_HZ=0x10", "--kconfig", "CONFIG_IPV6=m") == "1000000002000000"


@pytest.mark.parametrize(
    ("option", "said", "message"),
    [
        ("--kconfig", "CONFIG_HZ", "--kconfig: expected NAME=VALUE, got 'CONFIG_HZ'"),
        ("--kconfig", "CONFIG_HZ=", "--kconfig: expected NAME=VALUE, got 'CONFIG_HZ='"),
        ("--kconfig", "CONFIG_HZ=fast", "kconfig CONFIG_HZ: 'fast' is not an int: a signed number"),
        ("--kconfig", "CONFIG_NO=1", "no program uses kconfig CONFIG_NO (used: CONFIG_HZ, "),
        ("--target", "on_call", "--target: expected PROGRAM=TARGET, got 'on_call'"),
        ("--target", "nobody=x", "no program 'nobody' (available: on_enter, "),
        ("--max-entries", "counts", "--max-entries: expected MAP=N, got 'counts'"),
        ("--max-entries", "counts=-1", "--max-entries: expected MAP=N, got 'counts=-1'"),
        ("--max-entries", "counts=many", "--max-entries: expected MAP=N, got 'counts=many'"),
        ("--max-entries", "counts=0", "map 'counts' cannot have 0 entries"),
        ("--max-entries", "nothing=1", "no map 'nothing' (available: counts, "),
        ("--map", "counts", "--map: expected MAP.ATTRIBUTE=VALUE, got 'counts'"),
        ("--map", "counts.inner_map=5", "(counts.inner_map.ATTRIBUTE=VALUE)"),
    ],
)
@pytest.mark.parametrize("command", ["load", "run", "trace", "diff"])
def test_bad_run_options(
    capsys: pytest.CaptureFixture[str],
    bundle: Path,
    command: str,
    option: str,
    said: str,
    message: str,
) -> None:
    sources = [bundle, bundle] if command == "diff" else [bundle]
    assert message in fails(capsys, command, *sources, option, said)


@pytest.mark.parametrize("command", ["load", "run", "trace"])
def test_what_a_target_lacks_is_said_first(
    capsys: pytest.CaptureFixture[str], bundle: Path, command: str
) -> None:
    values = ("--kconfig", "CONFIG_HZ=1", "--kconfig", "CONFIG_IPV6=n")
    error = fails(capsys, command, bundle, *values)
    assert "program 'on_call': section name 'fentry' does not name an attach target" in error
    assert "--target on_call=TARGET" in error and "--no-autoload on_call" in error


def test_target(capsys: pytest.CaptureFixture[str], sample: Path) -> None:
    one, other = (
        programs(capsys, sample, *TYPED, "--target", f"on_call={name}")["on_call"]
        for name in ("do_unlinkat", "do_rmdir")
    )
    assert 0 != one["attach_btf_id"] != other["attach_btf_id"]


def test_max_entries(capsys: pytest.CaptureFixture[str], sample: Path, bundle: Path) -> None:
    *_, target = COMPLETE
    for source, options in ((sample, COMPLETE), (bundle, ("--target", target))):
        found = calls(capsys, source, *options, "--max-entries", "counts=77")
        attrs = {c["attr"]["map_name"]: c["attr"] for c in found if c["cmd"] == "BPF_MAP_CREATE"}
        assert attrs["counts"]["max_entries"] == 77


@pytest.mark.kernel
def test_pin_root(capsys: pytest.CaptureFixture[str], tmp_path: Path, bpffs: Path) -> None:
    path = tmp_path / "pinned.o"
    path.write_bytes(compile_bpf(PINNED))
    ids = []
    for replay in ("kernel", "direct"):
        args = ["load", str(path), "--pin-root", str(bpffs), "--replay", replay, "--json"]
        assert main(args) == 0
        ids += [item["id"] for item in json.loads(capsys.readouterr().out)["maps"]]
        assert (bpffs / "shared").exists()
    assert ids[0] == ids[1]
    error = fails(capsys, "load", path, "--pin-root", bpffs, "--replay", "simulator")
    assert (
        error == "the simulator does not support pins (remove --pin, --pin-root and --trust-pins)"
    )


def test_headers_take_no_options(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "x.lskel.h"
    path.write_text("struct bpf_loader_ctx ctx;")
    for option, said in (("--type", "a=xdp"), ("--autoload", "a")):
        error = fails(capsys, "trace", path, option, said)
        assert f"{path}: {option} cannot change a light skeleton header" in error
    for option, said in (("--kconfig", "A=1"), ("--max-entries", "a=1"), ("--target", "a=b")):
        assert "cannot be applied to a light skeleton header" in fails(
            capsys, "trace", path, option, said
        )


# -- --debug -----------------------------------------------------------------------------------


def test_debug(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "hello.lskel"
    assert main(["gen", str(example("hello")), "-o", str(out), "--debug"]) == 0
    assert main(["trace", str(out)]) == 0
    assert "\ntrace_printk: lskel: record " in capsys.readouterr().out
    unrolled = ["--form", "unrolled", "--debug"]
    assert main(["gen", str(example("hello")), "-o", str(out), *unrolled]) == 0
    assert main(["trace", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    printed = [line for line in lines if line.startswith("trace_printk: lskel: ")]
    assert printed[1:3] == [
        "trace_printk: lskel: MapCreate hello.bss: 4",
        "trace_printk: lskel: MapUpdate : 0",
    ]
    assert main(["disasm", str(example("hello")), "--loader", "--debug"]) == 0
    assert "call bpf_trace_printk" in capsys.readouterr().out
    assert "--debug needs --loader" in fails(capsys, "disasm", example("hello"), "--debug")


@pytest.mark.kernel
def test_debug_in_the_kernel(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["load", str(example("hello")), "--debug"]) == 0
    assert "1 programs" in capsys.readouterr().out


# -- what is shown -----------------------------------------------------------------------------


def test_inspect_with_a_type(capsys: pytest.CaptureFixture[str], sample: Path) -> None:
    assert main(["inspect", str(sample)]) == 0
    shown = capsys.readouterr().out
    assert "section name 'mine' has no known program type" in shown.partition("Cannot be loaded")[2]
    assert main(["inspect", str(sample), *TYPED, "--autoload", "on_exit"]) == 0
    shown = capsys.readouterr().out
    assert "Cannot be loaded" not in shown and "autoload disabled" not in shown
    assert "fd of the attach target of program 'on_call'" in shown


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    shared = {"--type", "--autoload", "--no-autoload", "--name"}
    simulated = shared | {"--form", "--debug", "--kconfig", "--target", "--max-entries"}
    simulated |= {"--map", "--prog"}
    expected = {
        "gen": shared | {"--form", "--debug", "--map", "--prog", "--max-entries"},
        "disasm": shared | {"--form", "--debug"},
        "inspect": shared,
        "trace": simulated,
        "diff": simulated,
        "load": simulated | {"--pin-root"},
        "run": simulated | {"--pin-root"},
    }
    for command, options in expected.items():
        assert main([command, "--help"]) == 0
        words = set(capsys.readouterr().out.split())
        assert words & expected["load"] == options, command


def test_a_process_says_it_in_a_line(sample: Path) -> None:
    for args, status in (
        (["load", sample, "--type", "x"], 1),
        (["load", sample, "--autoload"], 2),
        (["gen", sample, "--target", "a=b", "-o", "x"], 2),
        (["trace", sample, "--pin-root", "x"], 2),
    ):
        done = subprocess.run(
            [*LSKEL, *map(str, args)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status and done.stdout == ""
        assert "Traceback" not in done.stderr and done.stderr


# -- real objects ------------------------------------------------------------------------------

_SK_MSG = (4, 6, 8, 9, 10)


def selftest(name: str) -> Path:
    return next(path for path in corpus.objects() if path.stem == name)


@pytest.mark.corpus
@pytest.mark.usefixtures("corpus_tools")
@pytest.mark.parametrize(
    ("name", "types"),
    [
        ("sockmap_parse_prog", ["bpf_prog1=sk_skb:sk_skb_stream_parser"]),
        ("test_btf_newkv", ["_dummy_tracepoint=tracepoint"]),
        (
            "test_sockmap_kern",
            [f"bpf_prog{n}=sk_skb" for n in (1, 2, 3)] + [f"bpf_prog{n}=sk_msg" for n in _SK_MSG],
        ),
    ],
)
def test_selftests_without_a_type(
    capsys: pytest.CaptureFixture[str], name: str, types: list[str]
) -> None:
    path = selftest(name)
    assert "no known program type" in fails(capsys, "trace", path)
    loaded = programs(capsys, path, *(word for said in types for word in ("--type", said)))
    assert {said.split("=")[0][:15] for said in types} <= set(loaded)


@pytest.mark.corpus
@pytest.mark.usefixtures("corpus_tools")
@pytest.mark.kernel
def test_selftests_with_options(capsys: pytest.CaptureFixture[str]) -> None:
    externs = selftest("test_core_extern")
    assert main(["load", str(externs), "--kconfig", "CONFIG_CHAR=m"]) == 0
    assert "1 programs" in capsys.readouterr().out
    error = fails(capsys, "load", externs, "--kconfig", "CONFIG_BOOL=maybe")
    assert "kconfig CONFIG_BOOL: 'maybe' is not a bool: y or n" in error
    modules = selftest("test_module_attach")
    assert "--target handle_fentry_manual=" in fails(capsys, "load", modules)
    error = fails(capsys, "load", modules, "--target", "handle_fentry_manual=no_such_function")
    assert "no func 'no_such_function' in the kernel's BTF" in error
    probes = selftest("test_usdt")
    choice = ("--no-autoload", "usdt0", "--max-entries", "__bpf_usdt_specs=9")
    found = calls(capsys, probes, *choice, "--kconfig", "LINUX_HAS_BPF_COOKIE=y")
    assert [c["attr"]["prog_name"] for c in found if c["cmd"] == "BPF_PROG_LOAD"] == [
        "usdt3",
        "usdt12",
    ]
    assert next(c["attr"]["max_entries"] for c in found if c["cmd"] == "BPF_MAP_CREATE") == 9
