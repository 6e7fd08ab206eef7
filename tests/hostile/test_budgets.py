"""No input costs more than `lskel.budget` says: it is refused with one line of error."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.build.elf import bss_section, one_program
from tests.hostile.limits import limited, refusal
from tests.hostile.loops import LOOPS

INPUTS = Path(__file__).parent / "inputs"
# What takes a bundle; `{}` is the input.
COMMANDS = {
    "inspect": "inspect {}",
    "disasm": "disasm {}",
    "trace": "trace {}",
    "diff": "diff {0} {0}",
    "explain": "explain {} -o page.html",
    "c": "gen {} -o x.h --form table --standalone --trust-bytes",
    "python": "gen {} -o x.py --trust-bytes",
    "load": "load --replay simulator {} --trust-bytes",
}
REFUSED = {
    "bz2-lie": "compression method 12 is not deflate",
    "json-lists": "62914598 bytes of lskel.json, at most 33554432 allowed",
    "bundle-kconfig-size": "size: 4611686018427387904 is not a number below 4294967296",
    "bundle-negative-seek": "wrong offset of the central directory",
    "bundle-region-op": "region 2: 18446744073709551615 is not a number below",
    "bundle-big-number": "max_entries: 4294967296 is not a number below 4294967296",
    "gen-unreadable": r"name: 'n\udcff\udce9' is not printable text",
}
SPENT = {
    "sim-fill": "bytes",
    "sim-many-calls": "calls of helpers, at most",
}


def command(name: str, path: Path) -> list[str]:
    return [word.format(path) for word in COMMANDS[name].split()]


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("bundle", REFUSED)
def test_refused(bundle: str, name: str, tmp_path: Path) -> None:
    done = limited("lskel", command(name, INPUTS / f"{bundle}.lskel"), tmp_path)
    assert REFUSED[bundle] in refusal(done, 2 if name == "diff" else 1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("bundle", SPENT)
@pytest.mark.parametrize("name", COMMANDS)
def test_spent(bundle: str, name: str, tmp_path: Path) -> None:
    """What does not run the loader may well do its work."""
    done = limited("lskel", command(name, INPUTS / f"{bundle}.lskel"), tmp_path)
    if done.returncode:
        refusal(done, 1, 2)


@pytest.mark.parametrize("bundle", SPENT)
def test_the_error_says_what_is_used_up(bundle: str, tmp_path: Path) -> None:
    done = limited("lskel", ["trace", INPUTS / f"{bundle}.lskel"], tmp_path)
    assert SPENT[bundle] in refusal(done)


# What each of the endless loaders has used up in the end.
USED_UP = {
    "nothing": "instructions",
    "loads": "instructions",
    "callbacks": "calls of functions",
    "subprograms": "calls of functions",
    "copies": "bytes read and written",
    "failed_copies": "bytes read and written",
    "long_names": "bytes read and written",
    "large_elements": "bytes for the elements of maps",
    "array_elements": "bytes for the elements of maps",
    "btfs": "bytes of BTF",
    "programs": "instructions and records of programs",
    "kfuncs": "instructions and records of programs",
    "fd_arrays": "instructions and records of programs",
}


@pytest.mark.parametrize("name", LOOPS)
def test_endless_loaders(name: str, tmp_path: Path) -> None:
    error = refusal(limited("tests.hostile.loops", [name], tmp_path))
    assert USED_UP.get(name, "calls of helpers") in error


@pytest.mark.parametrize("name", ["inspect", "verifier-log"])
def test_streams_without_an_end(name: str, tmp_path: Path) -> None:
    done = limited("lskel", [name, "-"], tmp_path, given="\0" * ((256 << 20) + 1))
    assert "bytes in one file, at most 268435456 allowed" in refusal(done)


@pytest.mark.parametrize("name", ["inspect", "trace", "c", "python", "load"])
def test_a_section_without_bytes_that_says_it_has_a_terabyte(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.bpf.o"
    path.write_bytes(bytes(one_program().adding(bss_section(".bss", 1 << 40))))
    error = refusal(limited("lskel", command(name, path), tmp_path))
    assert ".bss" in error


LOG = "prog 'p': -- BEGIN PROG LOAD LOG --\n0: R1=ctx() R10=fp0\n"
MANY = 1 << 20


@pytest.mark.parametrize(
    "text",
    [
        "\n" * MANY,
        LOG + "0: (b7) r1 = " + "1" * MANY,
        LOG + "0: R1=scalar(" + "smin=0," * (MANY // 8) + ")",
        LOG + "0: R1=" + "(" * MANY,
        LOG + "from 5 to 7: R0=1\n" * (MANY // 18),
        LOG + "from 1 to " + "1" * MANY,
        (LOG + "0: (b7) r0 = 0\nR0 !read_ok\n") * (MANY // 80),
    ],
    ids=["lines", "number", "state", "brackets", "jumps", "note", "logs"],
)
def test_logs(text: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(text)
    done = limited("lskel", ["verifier-log", "log"], tmp_path)
    assert done.returncode in (0, 1)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        "opts_data[]" * (MANY // 11),
        "struct bpf_map_desc x;" * (MANY // 22) + 'opts_data[] = "";opts_insn[] = "\\0";',
        'opts_data[] = "";opts_insn[] = "' + r"\0" * (MANY // 2 + 1) + '";',
    ],
    ids=["arrays", "maps", "instructions"],
)
def test_headers(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.h").write_text("struct bpf_loader_ctx ctx;" + text)
    refusal(limited("lskel", ["trace", "x.h"], tmp_path))
