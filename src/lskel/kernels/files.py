"""The BTF of a kernel, read from whatever has it.

A file is raw BTF, an ELF file (vmlinux, a module), an image (vmlinuz), or a Debian or RPM package;
a directory has such files, as /sys/kernel/btf and /usr/lib/modules/RELEASE do.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from lskel import budget
from lskel.btf.btf import MAGIC, Btf
from lskel.core_relo.candidates import KernelTypes
from lskel.cursor import mark
from lskel.elf.format import MAGIC as ELF
from lskel.elf.reader import ElfReader
from lskel.errors import BadInput, LskelError, NotFound, at
from lskel.input import read_input
from lskel.kernels.compression import decompress
from lskel.kernels.packages import files_in

# The header of BTF version 1 without flags, in either byte order.
_BTF = (b"\x9f\xeb\x01\x00", b"\xeb\x9f\x01\x00")
_IMAGE = re.compile(r"(vmlinux|vmlinuz|bzImage|zImage|Image)([.-].*)?")
_MODULE = re.compile(r"[^/]+\.ko(\.(gz|xz|zst))?")
# Documentation/arch/x86/boot.rst: the setup header's magic, sectors of setup code, and payload.
_X86_MAGIC = (0x202, b"HdrS")
_X86_SECTORS, _X86_PAYLOAD, _X86_SECTOR = 0x1F1, 0x248, 512
# drivers/firmware/efi/libstub/zboot-header.S: a PE file that unpacks its payload.
_ZBOOT_MAGIC = (4, b"zimg")
_ZBOOT_PAYLOAD = 8

_Files = Iterator[tuple[str, Callable[[], bytes]]]


def read_kernel(path: str | os.PathLike[str]) -> KernelTypes:
    """The types of a kernel and of its modules, which are read when they are needed.

    NotFound if nothing there has the BTF of a kernel; BadInput if it is damaged.
    """
    place = Path(path)
    with at(str(path)):
        if place.is_dir():
            return _kernel_in(lambda: _files_below(place), "directory")
        data = read_input(path)
        if files_in(data) is not None:
            return _kernel_in(lambda: _files_of(data), "package")
        return KernelTypes(_kernel(btf_of(data)))


def btf_of(data: bytes) -> bytes:
    """The BTF in a file's bytes. NotFound if it has none."""
    content = data
    for _ in range(3):
        if content.startswith(_BTF):
            return content
        if content.startswith(ELF):
            return _section(content)
        inner = _payload(content)
        if inner is None:
            return _search(content)
        content = inner
    raise NotFound("no BTF in it: it is compressed more than twice")


def _payload(data: bytes) -> bytes | None:
    """What an image or compressed file unpacks."""
    start = 0
    where, magic = _X86_MAGIC
    if data[where : where + len(magic)] == magic and len(data) >= _X86_PAYLOAD + 4:
        sectors = data[_X86_SECTORS] or 4
        start = (sectors + 1) * _X86_SECTOR + _word(data, _X86_PAYLOAD)
    where, magic = _ZBOOT_MAGIC
    if data[where : where + len(magic)] == magic and len(data) >= _ZBOOT_PAYLOAD + 4:
        start = _word(data, _ZBOOT_PAYLOAD)
    return decompress(data[start:] if start else data)


def _word(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 4], "little")


def _section(data: bytes) -> bytes:
    reader = ElfReader(data)
    section = reader.section(".BTF")
    if section is None:
        hint = "the kernel must be built with CONFIG_DEBUG_INFO_BTF"
        raise NotFound("it has no section .BTF", hint=hint)
    return reader.content(section)


def _search(data: bytes) -> bytes:
    """The first BTF in an image that is neither ELF nor compressed, such as those of arm64."""
    looked_at = budget.Allowance(budget.LOOKS_LIKE_BTF, "bytes that look like BTF")
    for magic in _BTF:
        start = data.find(magic)
        while start >= 0:
            size = _size(data, start)
            looked_at.spend(max(size, budget.PLACE))
            if size and start % 4 == 0:
                try:
                    return Btf(data[start : start + size]).raw
                except BadInput:
                    pass  # bytes that look like a header
            start = data.find(magic, start + 1)
    raise NotFound(
        "no BTF in it",
        hint="expected BTF, an ELF file with .BTF, a kernel image, a package of one, or a "
        "directory of them",
    )


def _size(data: bytes, start: int) -> int:
    """Bytes of BTF by its header at `start`; 0 if they are not there."""
    order = mark("little" if data[start : start + 2] == MAGIC.to_bytes(2, "little") else "big")
    if start + 24 > len(data):
        return 0
    header, _, type_length, strings_at, strings = struct.unpack_from(
        f"{order}IIIII", data, start + 4
    )
    size = int(header) + int(strings_at) + int(strings)
    return size if type_length and start + size <= len(data) else 0


def _kernel(raw: bytes) -> Btf:
    try:
        return Btf(raw)
    except LskelError as error:
        error.hint = error.hint or "the BTF of a module needs that of its kernel: name a directory"
        raise


def _kernel_in(files: Callable[[], _Files], what: str) -> KernelTypes:
    """The kernel among files: the first image or BTF of that name."""
    for name, read in files():
        if _IMAGE.fullmatch(name) or name.endswith(".btf"):
            with at(name):
                vmlinux = _kernel(btf_of(read()))
            return KernelTypes(vmlinux, _Modules(files, vmlinux))
    raise NotFound(f"the {what} has no kernel", hint="expected vmlinux, vmlinuz, or a .btf file")


class _Modules:
    """The BTF of modules among files, read in order when it is asked for; then it is kept."""

    def __init__(self, files: Callable[[], _Files], vmlinux: Btf) -> None:
        self._files = files
        self._vmlinux = vmlinux
        self._read: list[Btf] | None = None

    def __iter__(self) -> Iterator[Btf]:
        if self._read is None:
            self._read = list(self._modules())
        return iter(self._read)

    def _modules(self) -> Iterator[Btf]:
        together = budget.Allowance(budget.MODULES_BTF, "bytes of BTF of modules")
        for name, read in self._files():
            if _IMAGE.fullmatch(name) or name.endswith(".btf"):
                continue
            with at(name):
                data = read()
                if _MODULE.fullmatch(name):
                    data = decompress(data) or data
                    section = ElfReader(data).section(".BTF")
                    if section is None:
                        continue
                    data = ElfReader(data).content(section)
                elif not data.startswith(_BTF):
                    continue
                together.spend(len(data))
                yield Btf(data, self._vmlinux)


def _files_below(directory: Path) -> _Files:
    """Images, modules and raw BTF; symbolic links to directories are not followed."""
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            yield path.name, lambda path=path: read_input(path)  # type: ignore[misc]


def _files_of(package: bytes) -> _Files:
    for name, content in files_in(package) or ():
        yield PurePosixPath(name).name, lambda content=content: content  # type: ignore[misc]
