"""What the pages show is true: commands, Python, links."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from lskel.cli import COMMANDS
from tests.conftest import lacking
from tests.docs.desk import Desk, desk
from tests.docs.expected import is_shown
from tests.docs.not_run import NOT_RUN
from tests.docs.options import check_options
from tests.docs.pages import (
    DOCUMENTS,
    ROOT,
    BadPage,
    Command,
    Data,
    File,
    Snippet,
    Step,
    blocks,
    steps,
)

PARSERS: dict[str, Callable[[str], object]] = {"json": json.loads, "yaml": yaml.safe_load}


def is_run(page: Path, step: Step) -> bool:
    return not isinstance(step, Command) or (str(page), step.text) not in NOT_RUN


def follow(desk: Desk, step: Step, where: str) -> None:
    """Do what a page says at a place; the test fails where something else comes of it."""
    if isinstance(step, File):
        path = desk.directory / step.name
        assert path.resolve().is_relative_to(desk.directory.resolve()), where
        path.write_text(step.text)
    elif isinstance(step, Data):
        PARSERS[step.language](step.text)
    elif isinstance(step, Snippet):
        check(step.shown, desk.python(step.text), where, numbers_vary=False)
    else:
        run(desk, step, where)


def run(desk: Desk, command: Command, where: str) -> None:
    def is_as_shown(text: str) -> bool:
        return is_shown(command.output, text, numbers_vary=command.as_root)

    printed = desk.type(
        command.text,
        as_root=command.as_root,
        until=is_as_shown if command.is_interrupted else None,
    )
    if not command.is_interrupted and printed.status != (1 if command.fails else 0):
        pytest.fail(f"{where}: status {printed.status}\n{printed.text}", pytrace=False)
    check(command.output, printed.text, where, numbers_vary=command.as_root)


def check(shown: str, printed: str, where: str, *, numbers_vary: bool) -> None:
    if "Traceback" in printed:
        pytest.fail(f"{where}: {printed}", pytrace=False)
    if shown and not is_shown(shown, printed, numbers_vary=numbers_vary):
        pytest.fail(f"{where}: shown:\n{shown}\nprinted:\n{printed}", pytrace=False)


@pytest.mark.kernel
@pytest.mark.parametrize(
    "page", [page for page in DOCUMENTS if "```" in (ROOT / page).read_text()], ids=str
)
def test_page(page: Path, tmp_path: Path) -> None:
    """Every command and every piece of Python, in order."""
    clang = shutil.which("clang-19") or shutil.which("clang")
    if clang is None:
        lacking("clang is not installed")
    found = [step for step in steps(ROOT / page) if is_run(page, step)]
    with desk(tmp_path, clang) as made:
        for step in found:
            follow(made, step, f"{page}:{step.line}")


def test_commands_that_are_not_run() -> None:
    shown = {
        (str(page), step.text)
        for page in DOCUMENTS
        for step in steps(ROOT / page)
        if isinstance(step, Command)
    }
    assert {key for key in NOT_RUN if key[0].endswith(".md")} <= shown
    for _, text in NOT_RUN:
        check_options(text)


@pytest.mark.parametrize("page", DOCUMENTS, ids=str)
def test_no_command_hides(page: Path) -> None:
    """In blocks that are not run there is nothing that looks as if it were to be typed."""
    for block in blocks(ROOT / page):
        if block.language in ("indented", "text") and not block.is_generated:
            assert not re.search(
                r"^[$#] \w|^(lskel|python3?|pip|make) ", block.text, re.MULTILINE
            ), f"{page}:{block.line}"


@pytest.mark.parametrize("page", DOCUMENTS, ids=str)
def test_files_are_used(page: Path) -> None:
    """What the reader writes is used by a later command, or by another file."""
    found = steps(ROOT / page)
    for number, step in enumerate(found):
        if isinstance(step, File):
            later = [other.text for other in found[number + 1 :]]
            name = "make" if step.name == "Makefile" else step.name.removesuffix(".py")
            assert any(name in text for text in later), f"{page}:{step.line}: {step.name}"


@pytest.mark.parametrize("page", DOCUMENTS, ids=str)
def test_links(page: Path) -> None:
    """In the repository; the site's own are checked when it is built."""
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        place, _, heading = target.partition("#")
        if re.match("https?:", place):
            continue
        path = (ROOT / page).parent / place if place else ROOT / page
        assert path.exists(), f"{page}: {target}"
        if heading:
            titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
            assert heading in {_anchor(title) for title in titles}, target


def _anchor(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def test_readme_shows_every_command() -> None:
    shown = {
        step.text.split()[1]
        for step in steps(ROOT / "README.md")
        if isinstance(step, Command) and step.text.startswith("lskel ")
    }
    assert shown >= {"gen", "load", "run", "trace", "diff", "inspect"}
    assert shown <= set(COMMANDS)


def test_the_example_is_all_of_it() -> None:
    text = (ROOT / "examples" / "execsnoop.py").read_text()
    shown = [step.text for step in steps(ROOT / "README.md") if isinstance(step, File)]
    assert text.partition("from __future__ import annotations\n\n")[2] in shown


def test_pages_that_break_the_rules(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    for text in (
        "```c\nint x;\n```",
        "```console\nan output\n```",
        '```text title="output"\n1\n```',
        "```python {.x}\n```",
    ):
        page.write_text(text)
        with pytest.raises(BadPage):
            steps(page)
