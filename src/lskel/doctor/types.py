"""The kernel's BTF, and the BTF kinds that the kernel accepts."""

from __future__ import annotations

import os
from collections.abc import Callable

from lskel.btf.btf import Btf
from lskel.btf.build import BtfBuilder
from lskel.btf.kinds import Kind
from lskel.doctor import bpf_objects
from lskel.doctor.finding import Finding, Probe, fact, no, refused, yes
from lskel.errors import LskelError
from lskel.runtime.info import btf_info
from lskel.runtime.kernel_btf import VMLINUX, KernelBtf
from lskel.runtime.objects import ObjectKind, by_id, ids
from lskel.runtime.permissions import Capability
from lskel.runtime.syscall import BpfError

_DIRECTORY = "/sys/kernel/btf"
_WITHOUT = "objects with such types do not load; compile with an older -mcpu, or remove the types"


def _vmlinux() -> Finding:
    try:
        return yes(f"{len(KernelBtf().vmlinux.raw) >> 10} KiB")
    except LskelError as error:
        return no(error.what, f"{error.hint}, and {VMLINUX} must be readable")


def _modules() -> Finding:
    names = sorted(name for name in os.listdir(_DIRECTORY) if name != "vmlinux")  # noqa: PTH208
    return fact(f"{len(names)} modules" if names else "no modules")


def _split() -> Finding:
    """Read the BTF of one module as split BTF on top of vmlinux."""
    try:
        for number in ids(ObjectKind.BTF):
            with by_id(ObjectKind.BTF, number) as fd:
                info = btf_info(fd.fileno())
                if info.kernel and info.name != "vmlinux":
                    raw = btf_info(fd.fileno(), data=True).data
                    Btf(raw, KernelBtf().vmlinux)
                    return yes(f"read that of {info.name}")
    except BpfError as error:
        return refused(error, rights=(Capability.SYS_ADMIN,))
    return fact("no module BTF")


def _float(btf: BtfBuilder) -> None:
    btf.add(Kind.FLOAT, "double", 0, 8)


def _decl_tag(btf: BtfBuilder) -> None:
    number = btf.add_int()
    struct = btf.add(Kind.STRUCT, "s", 1, 4, btf.string("m"), number, 0)
    btf.add(Kind.DECL_TAG, "tag", 0, struct, 0xFFFFFFFF)


def _type_tag(btf: BtfBuilder) -> None:
    tag = btf.add(Kind.TYPE_TAG, "tag", 0, btf.add_int())
    btf.add(Kind.PTR, "", 0, tag)


def _enum64(btf: BtfBuilder) -> None:
    btf.add(Kind.ENUM64, "e", 1, 8, btf.string("value"), 1, 1)


def _global_function(btf: BtfBuilder) -> None:
    proto = btf.add(Kind.FUNC_PROTO, "", 0, btf.add_int())
    btf.add(Kind.FUNC, "f", 1, proto)


def _takes(kind: str, make: Callable[[BtfBuilder], None]) -> Probe:
    def run() -> Finding:
        btf = bpf_objects.btf_builder()
        make(btf)
        try:
            bpf_objects.load_btf(btf).close()
        except LskelError as error:
            return no(error.what, _WITHOUT)
        return yes()

    return Probe(f"btf.{kind.lower()}", f"accepts {kind}", run, ("permission.maps",))


PROBES = (
    Probe("btf.vmlinux", "kernel BTF (vmlinux)", _vmlinux),
    Probe("btf.modules", "module BTF", _modules, ("btf.vmlinux",)),
    Probe(
        "btf.split",
        "module BTF is readable",
        _split,
        ("permission.maps", "btf.vmlinux"),
    ),
    _takes("FUNC", _global_function),
    _takes("FLOAT", _float),
    _takes("DECL_TAG", _decl_tag),
    _takes("TYPE_TAG", _type_tag),
    _takes("ENUM64", _enum64),
)
