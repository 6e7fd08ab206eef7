"""The same values as libbpf 1.8, for the kernel's own CO-RE tests and for its selftests."""

from __future__ import annotations

from pathlib import Path

import pytest

from lskel.btf.btf import Btf
from lskel.core_relo.candidates import KernelTypes
from lskel.elf.reader import ElfReader
from lskel.errors import BadObject, NotSupported
from tests import bpftool, corpus
from tests.core_relo.libbpf import by_libbpf, by_lskel

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.usefixtures("corpus_tools"),
    pytest.mark.skipif(not bpftool.command(), reason=f"{bpftool.NAME} cannot be had here"),
]
# Every so many of the selftests; libbpf loads what it relocates, which takes its time.
STEP = 16


def types_of(path: Path) -> KernelTypes:
    """The types of a target: an object's BTF, or a kernel's."""
    raw = path.read_bytes()
    if raw.startswith(b"\x7fELF"):
        reader = ElfReader(raw)
        section = reader.section(".BTF")
        assert section is not None
        raw = reader.content(section)
    return KernelTypes(Btf(raw))


def test_the_kernels_own_tests(tmp_path: Path, bpffs: Path) -> None:
    """Objects and the target BTF that the kernel's selftests relocate them against."""
    paths = corpus.objects()
    programs = [path for path in paths if path.stem.startswith("test_core_reloc_")]
    targets = [path for path in paths if path.stem.startswith("btf__core_reloc_")]
    pairs = [
        (program, target)
        for target in targets
        for program in programs
        if program.stem.startswith("test_core_reloc_" + target.stem.split("__")[1].split("_", 2)[2])
    ]
    assert len(pairs) > 60
    failures = 0
    for program, target in pairs:
        reference = by_libbpf(program, target, bpffs / "programs")
        mine = by_lskel(program, types_of(target))
        assert reference is not None, program.name
        where = f"{program.name} against {target.name}"
        assert mine.failed == reference.failed, where
        # libbpf stops at the first relocation that fails.
        assert reference.patches.items() <= mine.patches.items(), where
        assert reference.failed or mine.patches == reference.patches, where
        failures += bool(mine.failed)
    assert 0 < failures < len(pairs)


def test_selftests_against_this_kernel(bpffs: Path) -> None:
    kernel = types_of(corpus.KERNEL_BTF)
    compared = 0
    for path in corpus.objects()[::STEP]:
        try:
            mine = by_lskel(path, kernel)
        except (NotSupported, BadObject):  # that it opens is tested elsewhere
            continue
        if not mine.patches:
            continue
        reference = by_libbpf(path, corpus.KERNEL_BTF, bpffs / path.stem)
        if reference is not None:
            assert reference == mine, path.name
            compared += len(mine.patches)
    assert compared > 50
