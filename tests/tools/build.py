"""Building the tools: objects, bundles, modules, and the program that drives them by libbpf."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

import lskel
from lskel.skeleton.python import generate_python
from tests import bpftool, debian
from tests.build.clang import compile_bpf
from tests.build.gcc import compile_c
from tests.conftest import lacking
from tests.tools.drive import USES, Printed, class_name

_BPF = Path(__file__).parent / "bpf"
_C = Path(__file__).parent / "c"
_HEADERS = "headers"


class Built(NamedTuple):
    """What drives the tools: bundles and modules, the program in C, and what causes events."""

    directory: str  # of NAME.lskel and NAME_lskel.py
    command: list[str]
    workload: str


def build(directory: Path) -> Built:
    """Build all of it in a directory."""
    if why := bpftool.missing():
        lacking(why)
    root = _libbpf()
    include = f"-isystem{root / _HEADERS}"
    for name in USES:
        source = (_BPF / f"{name}.bpf.c").read_text()
        content = compile_bpf(source, "-nohead", "-D__TARGET_ARCH_x86", f"-I{_BPF}", include)
        path = directory / f"{name}.bpf.o"
        path.write_bytes(content)
        header = bpftool.run("gen", "skeleton", path, "name", f"{name}_bpf")
        (directory / f"{name}.skel.h").write_text(header)
        loader = lskel.generate(lskel.open_object(content, name))
        loader.save(directory / f"{name}.lskel")
        module = generate_python(loader, class_name(name))
        (directory / f"{name}_lskel.py").write_text(module)
    workload = compile_c(
        (_C / "workload.c").read_text(),
        directory / "workload",
        *("-fno-omit-frame-pointer", "-static", "-no-pie", "-pthread"),
    )
    return Built(str(directory), _program(root, directory, include), str(workload))


def _program(root: Path, directory: Path, include: str) -> list[str]:
    libraries = root / "usr/lib/x86_64-linux-gnu"
    program = compile_c(
        (_C / "main.c").read_text(),
        directory / "tools",
        *(include, f"-I{directory}", f"-I{_C}", "-Wall", "-Werror"),
        *(str(_C / f"{name}.c") for name in USES),
        # What libbpf needs of a newer libc is there when it runs, by the ld.so of that.
        *("-x", "none", str(libraries / "libbpf.so.1"), "-Wl,--allow-shlib-undefined"),
    )
    loader = root / "usr/lib64/ld-linux-x86-64.so.2"
    return [str(loader), "--library-path", str(libraries), str(program)]


def _libbpf() -> Path:
    """Debian's newest libbpf, its headers, and all that it needs to run."""
    fetched = debian.fetch(
        "libbpf-sid", ("sid",), (), with_dependencies=("libbpf-dev",), finish=_part_headers
    )
    if fetched.root is None:
        lacking(f"libbpf: {fetched.why}")
    return fetched.root


def _part_headers(root: Path) -> None:
    """The headers of libbpf and of the kernel, without those of another libc."""
    headers = root / _HEADERS
    headers.mkdir()
    for name in ("bpf", "linux"):
        (headers / name).symlink_to(os.path.relpath(root / "usr/include" / name, headers))


def printed(command: list[str], workload: str) -> Printed:
    """As `drive.printed`, by the program in C."""
    return {
        f"{name}, {variant}": _lines([*command, name, variant, workload])
        for name, use in USES.items()
        for variant in use.variants
    }


def _lines(command: list[str]) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return [f"status {done.returncode}", *done.stderr.splitlines()]
    return sorted(done.stdout.splitlines())
