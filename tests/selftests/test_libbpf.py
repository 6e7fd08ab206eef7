"""What libbpf 1.8 loads directly into this kernel, lskel loads, through each of its doors."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import lskel
from lskel.loader.model import Form, Loader
from lskel.replay.options import Options
from tests import bpftool, corpus
from tests.corpus import Corpus
from tests.loads import load_by_loader, load_directly
from tests.selftests.reference import each_corpus
from tests.selftests.test_load import HANDS, SLOW
from tests.skeleton.c.headers import HEADER, build, light, run
from tests.skeleton.modules import by_module

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.kernel,
    pytest.mark.usefixtures("corpus_tools"),
]

ALL = bool(os.environ.get("LSKEL_ALL"))
# One object in so many as a C skeleton, which takes a compiler; LSKEL_ALL=1 builds all.
C_STEP = 1 if ALL else 16

# A bpffs that goes with the process: whatever is pinned there is nobody else's.
OWN_BPFFS = ("unshare", "--mount", "sh", "-c", 'mount -t bpf bpf /sys/fs/bpf && exec "$@"', "sh")
# bpftool pins all programs once they are loaded, and fails at one that is not autoloaded.
_NOT_AUTOLOADED = "can't pin program that wasn't loaded"
C_PROGRAM = f"""
#include <errno.h>
#include <stdio.h>
#include "{HEADER}"
int main(void)
{{
    struct it *skel = it__open_and_load();
    int err = errno;
    if (!skel) {{
        fprintf(stderr, "errno %d", err);
        return 1;
    }}
    it__destroy(skel);
    return 0;
}}
"""


def by_libbpf(path: Path) -> str:
    """Empty where libbpf loads the object, otherwise what it says."""
    command = (*OWN_BPFFS, *bpftool.command(), "prog", "loadall", str(path), "/sys/fs/bpf/loaded")
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    loaded = done.returncode == 0 or _NOT_AUTOLOADED in done.stderr
    return "" if loaded else done.stderr


Door = Callable[[Loader, Path], None]


def _by_loader(loader: Loader, root: Path) -> None:
    load_by_loader(loader, Options(pin_root=root)).close()


def _directly(loader: Loader, root: Path) -> None:
    load_directly(loader, Options(pin_root=root)).close()


def _by_module(loader: Loader, root: Path) -> None:
    with by_module(loader) as skeleton:
        skeleton.pin_root = root
        skeleton.load()


def _by_header(loader: Loader, directory: Path) -> None:
    header = light(loader.trace, "it", standalone=True, form=loader.form.value)
    done = run(build(directory, header, C_PROGRAM), prefix=OWN_BPFFS)
    if done.status:
        raise OSError(done.err)


def _doors(unrolled: Loader, table: Loader) -> Iterator[tuple[str, Door, Loader]]:
    yield "unrolled", _by_loader, unrolled
    yield "table", _by_loader, table
    yield "direct", _directly, table
    yield "Python", _by_module, table


def _why_not(door: Door, loader: Loader, root: Path) -> str:
    try:
        door(loader, root)
    except (lskel.LskelError, OSError) as error:
        return str(error)
    return ""


def _loaded_by_libbpf(paths: Sequence[Path]) -> Iterator[tuple[Path, Loader, Loader]]:
    """Those that libbpf loads, with loaders of both forms."""
    for path in paths:
        if (path.stem not in SLOW or ALL) and not by_libbpf(path):
            trace = lskel.open_object(path).trace()
            yield path, lskel.generate(trace, Form.UNROLLED), lskel.generate(trace, Form.TABLE)


@each_corpus
@pytest.mark.parametrize("hand", range(HANDS))
def test_as_libbpf(of: Corpus, hand: int, bpffs: Path) -> None:
    """By a loader of either form, directly, and by a Python skeleton."""
    failed = {}
    loaded = 0
    for path, unrolled, table in _loaded_by_libbpf(corpus.objects(of)[hand::HANDS]):
        loaded += 1
        for name, door, loader in _doors(unrolled, table):
            if why := _why_not(door, loader, bpffs / path.stem / name):
                failed[path.stem, name] = why
    print(f"libbpf loads {loaded} objects, lskel fails with {len(failed)}")
    assert not failed
    assert loaded >= 10


@each_corpus
def test_c_skeletons(of: Corpus, tmp_path: Path) -> None:
    """By a C skeleton, in the form that lskel chooses."""
    paths = corpus.objects(of)[::C_STEP]
    loaders = [(path, table) for path, _, table in _loaded_by_libbpf(paths)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        said = pool.map(lambda one: _why_not(_by_header, one[1], tmp_path / one[0].stem), loaders)
    failed = {path.stem: why for (path, _), why in zip(loaders, said, strict=True) if why}
    print(f"C skeletons of {len(loaders)} objects that libbpf loads, {len(failed)} fail")
    assert not failed
    assert len(loaders) >= 10
