"""The compilers of Debian's suites, unpacked into .cache: rows of a table."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests import debian
from tests.build.clang import INCLUDE

_Command = tuple[str, ...]


class Compiler(NamedTuple):
    """A compiler of a suite, which goes away there when a newer one has come.

    Of `packages` nothing is needed that they depend on, of `libraries` all. `commands` takes the
    directory of these, a source and a target, and gives the commands that compile.
    """

    name: str
    suite: str
    cpu: str  # the newest instructions that it knows
    packages: tuple[str, ...]
    libraries: tuple[str, ...]
    commands: Callable[[Compiler, Path, Path, Path], Iterator[_Command]]
    language: str = "c"  # the suffix of sources
    finish: Callable[[Path], None] = lambda root: None
    is_newest: bool = False  # of the mirror, so that it cannot be missing

    @property
    def missing(self) -> str:
        """Why it cannot be had here; empty where it can."""
        return self._fetched.why

    @property
    def is_gone(self) -> bool:
        """Whether the mirror does not have it any more."""
        return self._fetched.gone

    @property
    def root(self) -> Path:
        """The directory where it is; AssertionError where it is missing."""
        root = self._fetched.root
        assert root is not None, self.missing
        return root

    def compile(self, source: Path, target: Path) -> str:
        """Compile a source to an object; what the compiler says against it, empty if nothing."""
        for command in self.commands(self, self.root, source, target):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode or done.stderr:
                return f"status {done.returncode}\n{done.stderr}"
        return ""

    @property
    def _fetched(self) -> debian.Fetched:
        patterns = tuple(re.compile(package) for package in self.packages)
        libraries = tuple(re.compile(package) for package in self.libraries)
        return debian.fetch(
            self.name, (self.suite,), patterns, with_dependencies=libraries, finish=self.finish
        )


def _options(compiler: Compiler) -> _Command:
    return "-g", "-O2", f"-mcpu={compiler.cpu}", "-Wall", "-Werror", "-c"


def _includes(root: Path) -> _Command:
    """The suite's own libbpf, and this machine's headers of Linux."""
    places = (("-isystem", str(root / "usr/include")), ("-idirafter", INCLUDE))
    return (*(word for place in places for word in place), "-idirafter", "/usr/include")


# -- clang ----------------------------------------------------------------------------------------


def _clang_command(root: Path, name: str) -> _Command:
    version = name.removeprefix("clang-")
    # ld.so runs it, so that it does not find its own directory.
    own = next((root / f"usr/lib/llvm-{version}/lib/clang").iterdir())
    command = debian.program(root, f"usr/lib/llvm-{version}/bin/clang")
    return (*command, "-target", "bpfel", "-resource-dir", str(own))


def _clang_commands(
    compiler: Compiler, root: Path, source: Path, target: Path
) -> Iterator[_Command]:
    command = _clang_command(root, compiler.name)
    yield (*command, *_options(compiler), *_includes(root), str(source), "-o", str(target))


def _clang(version: int, suite: str, is_newest: bool = False) -> Compiler:
    return Compiler(
        f"clang-{version}",
        suite,
        "v4" if version >= 18 else "v3",
        # The compiler depends on headers and a linker of the host.
        (f"clang-{version}", "libbpf-dev"),
        # Packages got a suffix when time_t became longer.
        (f"libclang-cpp{version}(t64)?", f"libclang-common-{version}-dev"),
        _clang_commands,
        is_newest=is_newest,
    )


# -- gcc ------------------------------------------------------------------------------------------


def _gcc_commands(compiler: Compiler, root: Path, source: Path, target: Path) -> Iterator[_Command]:
    command = debian.program(root, "usr/bin/bpf-gcc")
    own = next((root / "usr/lib/gcc/bpf").iterdir())
    yield (
        # The same ld.so runs cc1 and as.
        *(*command, "-wrapper", ",".join(command[:-1])),
        *("-B", f"{own}/", "-B", f"{root}/usr/bin/bpf-"),
        *("-isystem", str(own / "include"), *_includes(root)),
        *(*_options(compiler), "-gbtf", str(source), "-o", str(target)),
    )


# -- rustc ----------------------------------------------------------------------------------------

_RUST_OUTPUT = "bpf"  # where the crates for BPF are


def _rustc(root: Path, edition: str = "2021") -> _Command:
    return (
        # Rust's core for BPF is to be compiled, and its source takes what is not stable.
        *("env", "RUSTC_BOOTSTRAP=1", *debian.program(root, "usr/bin/rustc")),
        *("--sysroot", str(root / "usr"), "-L", str(root / _RUST_OUTPUT)),
        *("--target", "bpfel-unknown-none", "--edition", edition, "--cap-lints", "allow"),
        *("-C", "opt-level=3", "-C", "panic=abort"),
    )


def _compile_core(root: Path) -> None:
    out = root / _RUST_OUTPUT
    out.mkdir()
    library = next((root / "usr/src").glob("rustc-*/library"))
    # Nothing of the functions in it is used, but every program refers to the crate.
    builtins = out / "compiler_builtins.rs"
    builtins.write_text("#![feature(compiler_builtins)]\n#![compiler_builtins]\n#![no_std]\n")
    for name, source in (("core", library / "core/src/lib.rs"), ("compiler_builtins", builtins)):
        crate = ("--crate-name", name, "--crate-type", "rlib", "-o", str(out / f"lib{name}.rlib"))
        subprocess.run(
            [*_rustc(root, "2024"), *crate, str(source)], check=True, capture_output=True
        )
    shutil.rmtree(root / "usr/src")


def _rust_commands(
    compiler: Compiler, root: Path, source: Path, target: Path
) -> Iterator[_Command]:
    # rustc leaves code for BPF as LLVM's bitcode, which bpf-linker, here clang, compiles.
    bitcode = str(target.with_suffix(".bc"))
    options = ("-C", "debuginfo=2", "-C", "codegen-units=1", "--crate-type", "lib", "--emit", "obj")
    yield (*_rustc(root), *options, str(source), "-o", bitcode)
    clang = _clang_command(_NEWEST.root, _NEWEST.name)
    yield (*clang, "-O2", f"-mcpu={compiler.cpu}", "-x", "ir", "-c", bitcode, "-o", str(target))


_NEWEST = _clang(23, "sid", is_newest=True)
COMPILERS = (
    _clang(14, "bookworm"),
    _clang(15, "bookworm"),
    _clang(16, "bookworm"),
    _clang(17, "trixie"),
    _clang(18, "trixie"),
    _clang(19, "trixie"),
    _clang(21, "sid"),
    _clang(22, "sid"),
    _NEWEST,
    Compiler(
        *("gcc-bpf", "sid", "v4", ("libbpf-dev",), ("gcc-bpf",), _gcc_commands), is_newest=True
    ),
    Compiler(
        *("rustc", "sid", "v3", ("rustc", "rust-src"), ("libstd-rust-dev",), _rust_commands),
        language="rs",
        finish=_compile_core,
    ),
)
