"""What the documents show is true: links, snippets, commands, listings."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from lskel.cli import COMMANDS, cli, main
from lskel.loader.model import Loader
from tests.build.clang import compile_bpf

ROOT = Path(__file__).parent.parent
DOCUMENTS = (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")))


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of a language in a document."""
    fence = re.compile(rf"^```{language}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return fence.findall(path.read_text())


def commands(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The lskel commands of the console blocks: the prompt, and the arguments."""
    for block in blocks(path, "console"):
        for line in block.splitlines():
            prompt, _, command = line.partition(" ")
            if prompt in ("$", "#") and command.startswith("lskel "):
                yield prompt, shlex.split(command, comments=True)[1:]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with examples/ in it, for snippets that write files."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links(document: Path) -> None:
    text = document.read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        place, _, heading = target.partition("#")
        if place.startswith("http"):
            continue
        path = document.parent / place if place else document
        assert path.exists(), f"{document.name}: {target}"
        if heading:
            titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
            assert heading in {title.lower().replace(" ", "-") for title in titles}, target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_parse(document: Path) -> None:
    for _, (name, *args) in commands(document):
        assert name in COMMANDS, name
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        command.make_context(name, args)  # raises where an option is unknown


def test_readme_shows_every_command() -> None:
    shown = {args[0] for _, args in commands(ROOT / "README.md")}
    assert shown >= {"gen", "load", "run", "trace", "diff", "inspect", "explain"}


@pytest.mark.usefixtures("elsewhere")
def test_quick_start(capsys: pytest.CaptureFixture[str]) -> None:
    quick_start = blocks(ROOT / "README.md", "console")[0]
    unprivileged = [args for prompt, args in commands(ROOT / "README.md") if prompt == "$"]
    run = [args for args in unprivileged if " ".join(args) in quick_start][:6]
    assert [args[0] for args in run] == ["gen", "inspect", "trace", "explain", "gen", "gen"]
    for args in run:
        assert main(args) == 0
    assert "BPF_PROG_LOAD(" in capsys.readouterr().out


def test_the_example_is_all_of_it() -> None:
    text = (ROOT / "examples" / "execsnoop.py").read_text()
    assert text.partition("from __future__ import annotations\n\n")[2] == snippets()[0]


@pytest.fixture
def asking(elsewhere: Path) -> Path:
    """`elsewhere` with the object that README asks things of the kernel with."""
    (source,) = blocks(ROOT / "README.md", "c")
    (elsewhere / "asks.bpf.o").write_bytes(compile_bpf(source, "-nohead"))
    return elsewhere


def snippets() -> list[str]:
    """README's Python: the example first, then the library's two."""
    return blocks(ROOT / "README.md", "python")


def asked(prompt: str) -> list[list[str]]:
    """README's commands for that object."""
    found = commands(ROOT / "README.md")
    return [args for sign, args in found if sign == prompt and args[1].startswith("asks.")]


@pytest.mark.usefixtures("asking")
def test_asking(capsys: pytest.CaptureFixture[str]) -> None:
    shown = {}
    for args in asked("$"):
        assert main(args) == 0
        shown[args[0]] = capsys.readouterr().out
    assert list(shown) == ["gen", "inspect", "trace"]
    for word in ("bpf_rcu_read_lock", "schedule", "CONFIG_HZ", "not loaded by itself"):
        assert word in shown["inspect"]
    assert "expected_attach_type=SK_SKB_STREAM_PARSER" in shown["trace"]
    assert "value=e8030000" in shown["trace"] and 'prog_name="on_exit"' in shown["trace"]


@pytest.mark.kernel
@pytest.mark.usefixtures("asking")
def test_asking_the_kernel(capsys: pytest.CaptureFixture[str]) -> None:
    for args in [args for args in asked("$") if args[0] == "gen"] + asked("#"):
        assert main(args) == 0
    output = capsys.readouterr().out
    (block,) = [text for text in blocks(ROOT / "README.md", "console") if "asks.lskel" in text]
    lines = [line for line in block.splitlines() if line.startswith(("attached", "not attached"))]
    assert len(lines) == 3 and all(line in output for line in lines)
    (address,) = re.findall(r"address=(\d+)", output)
    assert int(address) > 1 << 63


@pytest.mark.usefixtures("elsewhere")
def test_library_without_a_kernel(capsys: pytest.CaptureFixture[str]) -> None:
    exec(snippets()[1], {})
    assert "count_syscall" in capsys.readouterr().out
    assert Loader.load("syscount.lskel").trace.map_create(0).max_entries == 4096


@pytest.mark.kernel
@pytest.mark.usefixtures("elsewhere")
def test_library(capsys: pytest.CaptureFixture[str]) -> None:
    exec("\n".join(snippets()[1:]), {})
    tag, entries = capsys.readouterr().out.splitlines()[-2:]
    assert re.fullmatch("[0-9a-f]{16}", tag)
    assert entries == "1024"


@pytest.mark.usefixtures("elsewhere")
def test_bundle_example() -> None:
    document = ROOT / "docs" / "bundle.md"
    assert main(["gen", "examples/hello.bpf.o", "-o", "hello.lskel"]) == 0
    names: dict[str, object] = {}
    exec(blocks(document, "python")[0], names)
    assert json.loads(blocks(document, "json")[0]) == names["description"]
