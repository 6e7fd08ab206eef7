"""The kernel's BPF selftests as corpora of real objects, and bpftool's light skeletons of them.

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
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from tests import bpftool, debian

KERNEL_BTF = Path("/sys/kernel/btf/vmlinux")

# The headers of these kernels declare kfuncs themselves, some with other types than newer kernels.
_OWN_PROTOTYPES = ("-DBPF_NO_KFUNC_PROTOTYPES",)
# Objects that their Makefile links from several; alone, most of these cannot be loaded.
_LINKED = {
    "linked_funcs": ("linked_funcs1", "linked_funcs2"),
    "linked_maps": ("linked_maps1", "linked_maps2"),
    "linked_vars": ("linked_vars1", "linked_vars2"),
    "test_static_linked": ("test_static_linked1", "test_static_linked2"),
    "test_subskeleton": ("test_subskeleton_lib2", "test_subskeleton_lib", "test_subskeleton"),
    "test_usdt": ("test_usdt", "test_usdt_multispec"),
}


@dataclass(frozen=True)
class Corpus:
    """The selftests of one kernel series, compiled in one way."""

    name: str
    package: str  # of Debian, with the source
    clang: str
    cpu: str
    flags: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()  # which have the package, if those of the machine do not

    def __str__(self) -> str:
        return self.name

    @property
    def source(self) -> Path:
        """The archive; it need not exist."""
        root = Path("/")
        if self.suites:
            root = debian.fetch(self.package, self.suites, (self.package,)).root or root
        return root / "usr/src" / f"{self.package}.tar.xz"


V6_1 = Corpus("6.1", "linux-source-6.1", "clang-19", "v3", _OWN_PROTOTYPES)
V6_12 = Corpus("6.12", "linux-source-6.12", "clang-19", "v3", _OWN_PROTOTYPES)
_V7_3 = ("linux-source-7.3", "clang-22")
_V7_3_FLAGS = (*_OWN_PROTOTYPES, "-I../../../include", "-Ilibarena/include")
V7_3 = Corpus("7.3", *_V7_3, "v3", _V7_3_FLAGS, suites=("trixie-backports",))
V7_3_V4 = Corpus("7.3-v4", *_V7_3, "v4", _V7_3_FLAGS, suites=("trixie-backports",))
CORPORA = (V6_1, V6_12)

_SELFTESTS = "tools/testing/selftests/bpf"
_HELPER_DEFS = "scripts/bpf_doc.py"
_SUBTREES = (_SELFTESTS, "tools/include", "tools/lib/bpf", _HELPER_DEFS)
_MACHINE = platform.machine()
_TARGET_ARCH = {"x86_64": "x86", "aarch64": "arm64"}.get(_MACHINE, _MACHINE)
_CLANG_FLAGS = (
    *("-g", "-O2", "-target", "bpf", f"-D__TARGET_ARCH_{_TARGET_ARCH}", "-DENABLE_ATOMICS_TESTS"),
    # libbpf's headers are those of the same source.
    *("-I.", "-Iprogs", "-I../../../lib", "-I../../../include/uapi"),
    f"-I/usr/include/{_MACHINE}-linux-gnu",
    "-Wno-everything",
)
_TIMEOUT = 300
_T = TypeVar("_T")
# Debian keeps some tools here, which is not on everybody's PATH.
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


def missing(corpora: Iterable[Corpus] = CORPORA) -> list[str]:
    """What the corpora need and this machine lacks."""
    corpora = tuple(corpora)
    tools = ["tar", "xz", *dict.fromkeys(corpus.clang for corpus in corpora)]
    reasons = [tool for tool in tools if not shutil.which(tool, path=_PATH)]
    reasons += [] if KERNEL_BTF.exists() else [str(KERNEL_BTF)]
    reasons += [why] if (why := bpftool.missing()) else []
    return reasons + [str(each.source) for each in corpora if not each.source.exists()]


@cache
def compilations(corpus: Corpus = V6_1) -> list[Product]:
    """Each selftest program, compiled (``path`` is the object) or not, in order of name.

    Then those that are linked from several.
    """
    if lacking := missing([corpus]):
        raise CorpusUnavailable(f"the corpus needs {', '.join(lacking)}")
    with _locked(corpus) as root:
        stat = corpus.source.stat()
        tree_recipe = f"{corpus.source.name} {stat.st_size} {stat.st_mtime_ns}\n{_SUBTREES}"
        tree = _stage(root / "tree", tree_recipe)
        selftests = tree / _SELFTESTS
        if not selftests.is_dir():
            _extract(corpus.source, tree)

        objects = _stage(root / "objects", _object_recipe(corpus, tree_recipe))
        include = objects / "include"
        include.mkdir(exist_ok=True)
        dump = [*bpftool.command(), "btf", "dump", "file", str(KERNEL_BTF), "format", "c"]
        api = tree / "tools/include/uapi/linux/bpf.h"
        helpers = [sys.executable, str(tree / _HELPER_DEFS), "--header", "--filename", str(api)]
        for header, command in (("vmlinux.h", dump), ("bpf_helper_defs.h", helpers)):
            made = _make(KERNEL_BTF, include / header, command, root)
            if not made.ok:
                raise CorpusUnavailable(f"no {header}: {made.reason}")

        def build(source: Path) -> Product:
            # Compiled from the selftests' directory, as by their own Makefile. The objects
            # shall not depend on where the cache lies.
            name = source.relative_to(selftests)
            maps = [f"-ffile-prefix-map={path}=." for path in (selftests, objects)]
            flags = (*maps, f"-I{include}", *_clang_flags(corpus))
            command = [corpus.clang, *flags, "-c", str(name), "-o", "-"]
            return _make(source, objects / f"{source.stem}.o", command, selftests)

        def link(name: str) -> Product:
            once, twice = (objects / f"{name}_{suffix}.o" for suffix in ("once", "linked"))
            parts = [objects / f"{part}.o" for part in _LINKED[name]]
            # Twice, as by their own Makefile: until then, BTF has wrong offsets of some maps.
            made = _link(once, parts)
            return _link(twice, [once]) if made.ok else made

        compiled = _parallel(build, sorted((selftests / "progs").glob("*.c")))
        return compiled + _parallel(link, sorted(_LINKED))


def objects(corpus: Corpus = V6_1) -> list[Path]:
    """The objects of the corpus, in order of name."""
    return [product.path for product in compilations(corpus) if product.ok]


@cache
def light_skeletons(corpus: Corpus = V6_1) -> list[Product]:
    """The reference generator's header for each object of the corpus, or why it made none."""
    paths = objects(corpus)
    with _locked(corpus) as root:
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


def _clang_flags(corpus: Corpus) -> tuple[str, ...]:
    return (*_CLANG_FLAGS, f"-mcpu={corpus.cpu}", *corpus.flags)


def _object_recipe(corpus: Corpus, tree_recipe: str) -> str:
    btf = hashlib.sha256(KERNEL_BTF.read_bytes()).hexdigest()
    flags = f"{' '.join(_clang_flags(corpus))}\n{_LINKED}"
    clang = _run([corpus.clang, "--version"], Path("/")).stdout.decode()
    return "\n".join((tree_recipe, btf, flags, clang, bpftool.VERSION, ""))


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
    for directory in partial.iterdir():
        directory.rename(tree / directory.name)
    partial.rmdir()


def _link(target: Path, parts: Sequence[Path]) -> Product:
    written = target.with_suffix(".linking")  # it seeks, which a pipe does not let it
    command = [*bpftool.command(), "gen", "object", str(written), *map(str, parts)]
    return _make(Path(target.stem), target, command, target.parent, written)


def _make(
    source: Path, target: Path, command: Sequence[str], directory: Path, written: Path | None = None
) -> Product:
    """Runs the command, unless it already was; keeps what it prints, or writes, as the target."""
    failure = target.with_name(target.name + ".failed")
    if target.exists():
        return Product(source, target, 0, "")
    if failure.exists():
        status, _, error = failure.read_text().partition("\n")
        return Product(source, target, int(status), error)

    result = _run(command, directory)
    error = result.stderr.decode(errors="replace")
    if result.returncode == 0:
        _write(target, written.read_bytes() if written else result.stdout)
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


def _parallel(job: Callable[[_T], Product], subjects: Iterable[_T]) -> list[Product]:
    # The work is in child processes, so threads are enough.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(job, subjects))


@contextmanager
def _locked(corpus: Corpus) -> Iterator[Path]:
    """Keeps other processes, such as pytest's workers, from building the same at once."""
    root = cache_directory() / corpus.name
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
    for each in CORPORA:
        _report(f"objects of {each}", compilations(each))
        _report(f"light skeletons of {each}", light_skeletons(each))
