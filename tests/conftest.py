"""What all tests share: when tests that need the kernel run, and that they leave nothing open."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import pytest

from lskel.bpf.enums import Cmd, MapType
from lskel.bpf.layouts import MAP_CREATE
from lskel.errors import LskelError
from lskel.runtime.objects import Fd
from lskel.runtime.permissions import why_refused
from lskel.runtime.syscall import bpf, host_attr
from tests import bpftool, corpus

# Debian keeps bpftool here, which is not on everybody's PATH.
_PATH = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin{os.pathsep}/sbin"

Run = Callable[..., str]


@cache
def kernel_refusal() -> str:
    """Why this machine's kernel does not let us use bpf(2); empty where it does."""
    attr = host_attr(
        MAP_CREATE, "max_entries", map_type=MapType.HASH, key_size=4, value_size=4, max_entries=1
    )
    try:
        Fd(bpf(Cmd.MAP_CREATE, attr)).close()
    except LskelError as error:
        advice = why_refused() if sys.platform == "linux" else ""
        return f"{error}; {advice}" if advice else str(error)
    return ""


def lacking(reason: str) -> NoReturn:
    """Skip the running test, or fail it on CI, whose machines have all that the tests need."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"on CI this test must run: {reason}", pytrace=False)
    pytest.skip(reason)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests marked `kernel` run where the kernel lets them."""
    if item.get_closest_marker("kernel") and kernel_refusal():
        lacking(kernel_refusal())


def pytest_collection_finish() -> None:
    """The tests stay to the end; no collection of garbage has to look at them again and again."""
    gc.collect()
    gc.freeze()


def open_fds() -> dict[int, str]:
    """The open fds of this process, and what they are."""
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found[int(entry.name)] = str(entry.readlink())
        except FileNotFoundError:
            continue  # the one that the listing itself used
    return found


@pytest.fixture(autouse=True)
def _nothing_left_open(request: pytest.FixtureRequest) -> Iterator[None]:
    if not request.node.get_closest_marker("kernel"):
        yield
        return
    before = open_fds()
    yield
    if left := open_fds().items() - before.items():
        gc.collect()  # slow, and only needed for fds that hang on a cycle
        left &= open_fds().items()
    assert not left, f"the test left fds open: {sorted(left)}"


@pytest.fixture(scope="session")
def run() -> Run:
    """Run a command, such as bpftool or mount, and give its stdout; skips where it is missing."""

    def call(*command: str | Path | int, **options: Any) -> str:
        try:
            result = subprocess.run(
                [str(word) for word in command],
                env={**os.environ, "PATH": _PATH, "LC_ALL": "C.UTF-8"},
                capture_output=True,
                text=True,
                timeout=60,
                **options,
            )
        except FileNotFoundError:
            lacking(f"{command[0]} is not installed")
        assert result.returncode == 0, f"{command}: {result.stderr or result.stdout}"
        return str(result.stdout)

    return call


@pytest.fixture(scope="session")
def reference() -> Run:
    """Run bpftool 7.8, and give its stdout; skips where it cannot be had."""
    if why := bpftool.missing():
        lacking(why)
    return bpftool.run


@pytest.fixture
def mount(run: Run, tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a filesystem of a type ("bpf", "tracefs") in a directory of the test's own."""
    mounted: list[Path] = []

    def mount_at(kind: str) -> Path:
        target = tmp_path / f"mounted-{kind}"
        target.mkdir()
        run("mount", "-t", kind, kind, target)
        mounted.append(target)
        return target

    yield mount_at
    for target in reversed(mounted):
        run("umount", target)


@pytest.fixture
def bpffs(mount: Callable[[str], Path]) -> Path:
    """A bpffs for this test alone; its pins go with it."""
    return mount("bpf")


@pytest.fixture
def corpus_tools() -> None:
    """The test needs the kernel selftests corpus: clang, bpftool and the kernel's source."""
    if missing := corpus.missing():
        lacking(f"the corpus needs {', '.join(missing)}")
