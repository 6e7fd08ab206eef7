"""The kernel's BPF selftests as a corpus of real objects, and bpftool's light skeletons of them.

Everything is built once into a cache directory (``LSKEL_CORPUS``, or ``.cache/corpus``) and kept
as long as what it was made from stays the same. ``python -m tests.corpus`` builds and reports.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests import bpftool

SOURCE = Path("/usr/src/linux-source-6.1.tar.xz")
KERNEL_BTF = Path("/sys/kernel/btf/vmlinux")
CLANG = "clang-19"
BPFTOOL = "bpftool"

_SELFTESTS = "tools/testing/selftests/bpf"
_SUBTREES = (_SELFTESTS, "tools/include")
_MACHINE = platform.machine()
_TARGET_ARCH = {"x86_64": "x86", "aarch64": "arm64"}.get(_MACHINE, _MACHINE)
_CLANG_FLAGS = (
    *("-g", "-O2", "-target", "bpf", "-mcpu=v3", f"-D__TARGET_ARCH_{_TARGET_ARCH}"),
    *("-I.", "-Iprogs", f"-I/usr/include/{_MACHINE}-linux-gnu", "-I../../../include/uapi"),
    "-Wno-everything",
)
_TIMEOUT = 300
# Debian keeps bpftool here, which is not on everybody's PATH.
_PATH = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin"


class CorpusUnavailable(RuntimeError):
    """This machine lacks something that the corpus is built with."""


@dataclass(frozen=True)
class Product:
    """What came of one command: a file, or else the reason why there is none."""

    source: Path
    path: Path
    status: int  # negative: the signal that ended it
    error: str

    @property
    def ok(self) -> bool:
        """Whether the file exists."""
        return self.status == 0

    @property
    def crashed(self) -> bool:
        """Whether a signal ended the command."""
        return self.status < 0

    @property
    def reason(self) -> str:
        """The failure in one line: clang's first error, or what libbpf said first."""
        if self.crashed:
            return signal.Signals(-self.status).name
        lines = self.error.splitlines()
        return next((line for line in lines if "error:" in line), *lines[:1] or [""])


def cache_directory() -> Path:
    """Where the corpus is kept."""
    default = Path(__file__).resolve().parent.parent / ".cache" / "corpus"
    return Path(os.environ.get("LSKEL_CORPUS") or default).absolute()


def missing() -> list[str]:
    """What the corpus needs and this machine lacks."""
    tools = [tool for tool in (CLANG, BPFTOOL, "tar", "xz") if not shutil.which(tool, path=_PATH)]
    tools += [why] if (why := bpftool.missing()) else []
    return tools + [str(path) for path in (SOURCE, KERNEL_BTF) if not path.exists()]


@cache
def compilations() -> list[Product]:
    """Each selftest program, compiled (``path`` is the object) or not, in order of name."""
    if lacking := missing():
        raise CorpusUnavailable(f"the corpus needs {', '.join(lacking)}")
    with _locked(cache_directory()) as root:
        stat = SOURCE.stat()
        tree_recipe = f"{SOURCE.name} {stat.st_size} {stat.st_mtime_ns}\n{' '.join(_SUBTREES)}"
        tree = _stage(root / "tree", tree_recipe)
        selftests = tree / _SELFTESTS
        if not selftests.is_dir():
            _extract(SOURCE, tree)

        objects = _stage(root / "objects", _object_recipe(tree_recipe))
        include = objects / "include"
        include.mkdir(exist_ok=True)
        dump = [BPFTOOL, "btf", "dump", "file", str(KERNEL_BTF), "format", "c"]
        vmlinux = _make(KERNEL_BTF, include / "vmlinux.h", dump, root)
        if not vmlinux.ok:
            raise CorpusUnavailable(f"no vmlinux.h: {vmlinux.reason}")

        def build(source: Path) -> Product:
            # Compiled from the selftests' directory, as by their own Makefile. The objects
            # shall not depend on where the cache lies.
            name = source.relative_to(selftests)
            maps = [f"-ffile-prefix-map={path}=." for path in (selftests, objects)]
            flags = (*maps, f"-I{include}", *_CLANG_FLAGS)
            command = [CLANG, *flags, "-c", str(name), "-o", "-"]
            return _make(source, objects / f"{source.stem}.o", command, selftests)

        return _parallel(build, sorted((selftests / "progs").glob("*.c")))


def objects() -> list[Path]:
    """The objects of the corpus, in order of name."""
    return [product.path for product in compilations() if product.ok]


@cache
def light_skeletons() -> list[Product]:
    """The reference generator's header for each object of the corpus, or why it made none."""
    paths = objects()
    with _locked(cache_directory()) as root:
        recipe = (root / "objects" / _RECIPE).read_text() + bpftool.VERSION
        headers = _stage(root / "skeletons", recipe)

        def generate(path: Path) -> Product:
            words = ("gen", "skeleton", "-L", str(path), "name", object_name(path))
            command = [*bpftool.command(), *words]
            return _make(path, headers / f"{path.stem}.skel.h", command, root)

        return _parallel(generate, paths)


def object_name(path: Path) -> str:
    """The name that libbpf gives the object in this file."""
    return path.name.split(".", 1)[0][:15]


_RECIPE = "recipe"


def _object_recipe(tree_recipe: str) -> str:
    btf = hashlib.sha256(KERNEL_BTF.read_bytes()).hexdigest()
    flags = " ".join(_CLANG_FLAGS)
    return "\n".join((tree_recipe, btf, flags, _version(CLANG), _version(BPFTOOL), ""))


def _version(tool: str) -> str:
    return _run([tool, "--version"], Path("/")).stdout.decode()


def _stage(directory: Path, recipe: str) -> Path:
    """The directory, emptied if it was made by another recipe."""
    note = directory / _RECIPE
    if not note.exists() or note.read_text() != recipe:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        note.write_text(recipe)
    return directory


def _extract(archive: Path, tree: Path) -> None:
    """Unpacks the few directories that matter; they appear whole or not at all."""
    partial = tree / "partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    top = archive.name.removesuffix(".tar.xz")
    command = ["tar", "--use-compress-program=xz -dT0", "--strip-components=1", "-xf", str(archive)]
    result = _run([*command, *(f"{top}/{name}" for name in _SUBTREES)], partial)
    if result.returncode:
        raise CorpusUnavailable(f"cannot unpack {archive}: {result.stderr.decode().strip()}")
    (partial / "tools").rename(tree / "tools")
    partial.rmdir()


def _make(source: Path, target: Path, command: Sequence[str], directory: Path) -> Product:
    """Runs the command, unless it already was, and keeps what it prints as the target."""
    failure = target.with_name(target.name + ".failed")
    if target.exists():
        return Product(source, target, 0, "")
    if failure.exists():
        status, _, error = failure.read_text().partition("\n")
        return Product(source, target, int(status), error)

    result = _run(command, directory)
    error = result.stderr.decode(errors="replace")
    if result.returncode == 0:
        _write(target, result.stdout)
    else:
        _write(failure, f"{result.returncode}\n{error}".encode())
    return Product(source, target, result.returncode, error if result.returncode else "")


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    partial.replace(path)


def _run(command: Sequence[str], directory: Path) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PATH": _PATH, "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        command,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_TIMEOUT,
    )


def _parallel(job: Callable[[Path], Product], paths: Iterable[Path]) -> list[Product]:
    # The work is in child processes, so threads are enough.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(job, paths))


@contextmanager
def _locked(root: Path) -> Iterator[Path]:
    """Keeps other processes, such as pytest's workers, from building the same at once."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield root


def _report(what: str, products: Sequence[Product]) -> None:
    failed = [product for product in products if not product.ok]
    crashed = sum(product.crashed for product in failed)
    print(f"{what}: {len(products) - len(failed)} of {len(products)} ({crashed} crashed)")
    for product in failed:
        print(f"  {product.source.name}: {product.reason}")


if __name__ == "__main__":
    _report("objects", compilations())
    _report("light skeletons", light_skeletons())
