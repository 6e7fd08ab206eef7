"""Running a loader program: blob and instructions in, the program's result out."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import ExitStack, contextmanager

from lskel.bpf.attr import load
from lskel.bpf.enums import Cmd, MapType, ProgType
from lskel.bpf.flags import ProgFlag
from lskel.bpf.layouts import BTF_LOAD, MAP_CREATE, PROG_LOAD, TEST
from lskel.errors import UsageError
from lskel.light_typing import NamedTuple
from lskel.runtime.loader_fds import LoaderIds, take_fds
from lskel.runtime.objects import Fd, ObjectKind, identity
from lskel.runtime.one_element import lookup, update
from lskel.runtime.syscall import LOAD_ATTEMPTS, address_of, bpf, host_attr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lskel.runtime.loader_fds import LoaderFd

_KEY = bytes(4)
_SLOT_SIZE = 8
_FUNC_INFO_SIZE = 8
_LICENSE = b"Dual BSD/GPL\0"


class Result(NamedTuple):
    """The result of a loader (0, or minus the errno), and its blob afterwards.

    `fds` are the requested ones, in order.
    """

    value: int
    blob: bytes
    fds: tuple[Fd, ...] = ()


def run_loader(
    insns: bytes,
    blob: bytes,
    context: bytearray,
    btf: bytes = b"",
    func_info: bytes = b"",
    wanted: Sequence[LoaderFd] = (),
) -> Result:
    """Run a loader once (BPF_PROG_RUN, Linux 5.14); it writes its fds to `context`.

    `btf` and `func_info` describe the functions of a loader with callbacks; `wanted` are the fds
    that it should create.

    BpfError if the kernel refuses the loader itself; BadInput if its fds are not the expected ones
    (`take_fds`). On failure the loader has closed all its fds, and `blob` has details; on success
    `blob` is empty.
    """
    with low_fds_taken(), _blob_map(blob) as blob_map:
        with _load_program(insns, blob_map, btf, func_info) as program:
            ids = LoaderIds(_id(blob_map, ObjectKind.MAP), _id(program, ObjectKind.PROG))
            value = _run(program, context, blob_map, blob)
        if value == 0:
            return Result(0, b"", take_fds(context, wanted, ids))
        return Result(value, lookup(blob_map.fileno(), _KEY, len(blob)) or b"")


def check_byte_order(name: str, order: str) -> None:
    """UsageError if an object is for the other byte order."""
    if order != sys.byteorder:
        raise UsageError(
            f"'{name}' is for {order}-endian machines, this one is {sys.byteorder}-endian",
            hint="compile with -target bpfel or bpfeb",
        )


@contextmanager
def low_fds_taken() -> Iterator[None]:
    """Occupy fds 0 to 2: loaders and their callers use 0 for "no fd"."""
    held: list[int] = []
    try:
        while not held or held[-1] <= 2:
            # Works without any file, even in an empty chroot.
            held.append(os.open("/", os.O_PATH | os.O_CLOEXEC))
        yield
    finally:
        for fd in held:
            os.close(fd)


def _blob_map(blob: bytes) -> Fd:
    attr = host_attr(
        MAP_CREATE,
        "map_name",
        map_type=MapType.ARRAY,
        key_size=len(_KEY),
        value_size=len(blob),
        max_entries=1,
        map_name=b"__loader.map",
    )
    fd = Fd(bpf(Cmd.MAP_CREATE, attr))
    try:
        update(fd.fileno(), _KEY, blob)
    except BaseException:
        fd.close()
        raise
    return fd


def _load_program(insns: bytes, blob_map: Fd, btf: bytes, func_info: bytes) -> Fd:
    fds = bytearray(blob_map.fileno().to_bytes(4, sys.byteorder))
    with ExitStack() as stack:
        types = stack.enter_context(_load_btf(btf)).fileno() if btf else 0
        attr = host_attr(
            PROG_LOAD,
            "fd_array",
            prog_type=ProgType.SYSCALL,
            insn_cnt=len(insns) // _SLOT_SIZE,
            insns=address_of(insns),
            license=address_of(_LICENSE),
            prog_flags=ProgFlag.SLEEPABLE,  # bpf_copy_from_user may fault
            prog_name=b"__loader.prog",
            prog_btf_fd=types,
            func_info=address_of(func_info),
            func_info_rec_size=_FUNC_INFO_SIZE,
            func_info_cnt=len(func_info) // _FUNC_INFO_SIZE,
            fd_array=address_of(fds),
        )
        return Fd(bpf(Cmd.PROG_LOAD, attr))


def _load_btf(btf: bytes) -> Fd:
    attr = host_attr(BTF_LOAD, "btf_log_level", btf=address_of(btf), btf_size=len(btf))
    return Fd(bpf(Cmd.BTF_LOAD, attr))


def _id(fd: Fd, kind: ObjectKind) -> int:
    return identity(fd.fileno(), kind).id


def _run(program: Fd, context: bytearray, blob_map: Fd, blob: bytes) -> int:
    """Run it; retry if the verifier gave up because of a signal, which has no side effects."""
    asked = bytes(context)
    value = _run_once(program, context)
    for _ in range(LOAD_ATTEMPTS - 1):
        if value != -errno.EAGAIN:
            break
        context[:] = asked
        update(blob_map.fileno(), _KEY, blob)
        value = _run_once(program, context)
    return value


def _run_once(program: Fd, context: bytearray) -> int:
    attr = host_attr(
        TEST,
        "ctx_out",
        prog_fd=program.fileno(),
        ctx_size_in=len(context),
        ctx_in=address_of(context),
    )
    bpf(Cmd.PROG_RUN, attr)
    value = load(attr, TEST, "retval", sys.byteorder)
    return value - (1 << 32) if value >> 31 else value
