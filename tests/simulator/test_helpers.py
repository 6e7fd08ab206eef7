"""Helpers of loader programs, in the simulator and in the running kernel."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lskel.bpf import insn as i
from lskel.bpf.asm import Assembler
from lskel.bpf.attr import encode
from lskel.bpf.enums import Cmd, MapType
from lskel.bpf.insn import Insn, Pseudo
from lskel.bpf.layouts import MAP_CREATE
from lskel.btf.btf import Btf
from lskel.btf.kinds import Kind
from lskel.replay.simulator.faults import Faults
from lskel.replay.simulator.interpreter.fault import SimulatorFault
from lskel.replay.simulator.kernel import SimulatedKernel
from lskel.replay.simulator.names import AnyName, KernelImage
from lskel.replay.simulator.record import RecordedHelper
from lskel.replay.simulator.simulate import Replay, simulate
from lskel.replay.simulator.syscall.attrs import SIZE
from lskel.replay.simulator.syscall.errnos import Errno
from lskel.runtime.loader import run_loader
from lskel.runtime.syscall import address_of

ORDER = sys.byteorder
CTX, BLOB = 6, 7
# In the blob: results, what programs write, what they read.
RESULTS, OUT, IN, BLOB_SIZE = 0, 128, 256, 1024
USER = b"user memory"


class Sheet:
    """A program that calls helpers, and keeps what each returned in the blob. It returns 1."""

    def __init__(self) -> None:
        self.asm = Assembler(ORDER)
        self.blob = bytearray(BLOB_SIZE)
        self.blob[OUT:IN] = b"\xee" * (IN - OUT)
        self.results = 0
        self.used = IN
        self.asm.mov(CTX, 1)
        self.asm.map_value(BLOB, 0, 0)

    def data(self, content: bytes) -> int:
        """Put bytes into the blob; their offset."""
        offset = self.used
        self.blob[offset : offset + len(content)] = content
        self.used += len(content) + 7 & ~7
        return offset

    def address(self, register: int, offset: int) -> None:
        """register = address of an offset of the blob."""
        self.asm.mov(register, BLOB)
        self.asm.alu_imm(i.ADD, register, offset)

    def user(self, register: int) -> None:
        """register = address of the user's memory."""
        self.asm.load(8, register, CTX, 0)

    def call(self, helper: str) -> None:
        """Call, and keep r0."""
        self.asm.call(helper)
        self.asm.store(8, BLOB, RESULTS + 8 * self.results, 0)
        self.results += 1

    def code(self) -> bytes:
        # Only after a failure is the blob of the kernel's run there to be looked at.
        self.asm.mov_imm(0, 1)
        self.asm.exit()
        return self.asm.assemble()

    def run(self, kernel: SimulatedKernel | None = None) -> Replay:
        """In the simulator."""
        kernel = kernel or SimulatedKernel(ORDER)
        user = kernel.map_user("user memory", bytearray(USER))
        context = user.base.to_bytes(8, ORDER)
        return simulate(self.code(), bytes(self.blob), context, ORDER, kernel=kernel)


def results(sheet: Sheet, blob: bytes) -> list[int]:
    """What the helpers returned, signed."""
    raw = (blob[RESULTS + 8 * at : RESULTS + 8 * at + 8] for at in range(sheet.results))
    return [int.from_bytes(value, ORDER, signed=True) for value in raw]


def agree(sheet: Sheet, kernel: SimulatedKernel | None = None) -> list[int]:
    """Simulator and kernel return and write the same; what the helpers returned."""
    context = bytearray(address_of(USER).to_bytes(8, ORDER))
    simulated = sheet.run(kernel)
    real = run_loader(sheet.asm.assemble(), bytes(sheet.blob), context)
    assert simulated.value == real.value == 1
    assert results(sheet, simulated.blob) == results(sheet, real.blob)
    assert simulated.blob == real.blob
    return results(sheet, real.blob)


# -- memory ---------------------------------------------------------------------------------------


@pytest.mark.kernel
@pytest.mark.parametrize("helper", ["probe_read_kernel", "copy_from_user"])
@pytest.mark.parametrize("source", ["user", "blob", "null"])
@pytest.mark.parametrize("size", [1, 8, 11])
def test_copies_like_the_kernels(helper: str, source: str, size: int) -> None:
    """What cannot be read is an error, and zeros."""
    sheet = Sheet()
    data = sheet.data(b"kernel memory")
    sheet.address(1, OUT)
    sheet.asm.mov_imm(2, size)
    sources: dict[str, Callable[[], None]] = {
        "user": lambda: sheet.user(3),
        "blob": lambda: sheet.address(3, data),
        "null": lambda: sheet.asm.mov_imm(3, 0),
    }
    sources[source]()
    sheet.call(helper)
    # Since Linux 5.10 an address that is no kernel's is ERANGE to probe_read_kernel.
    readable, errno = {
        "probe_read_kernel": ("blob", Errno.ERANGE),
        "copy_from_user": ("user", Errno.EFAULT),
    }[helper]
    assert agree(sheet) == [0 if source == readable else -errno]


def test_copies_past_the_blob_stop_the_program() -> None:
    sheet = Sheet()
    sheet.address(1, BLOB_SIZE - 4)
    sheet.asm.mov_imm(2, 8)
    sheet.user(3)
    sheet.call("copy_from_user")
    with pytest.raises(SimulatorFault, match=r"__loader\.map.* has 1024 bytes"):
        sheet.run()


# -- names ------------------------------------------------------------------------------------


def find(sheet: Sheet, name: bytes, *, kind: int = Kind.STRUCT, flags: int = 0) -> None:
    """bpf_btf_find_by_name_kind"""
    sheet.address(1, sheet.data(name))
    sheet.asm.mov_imm(2, len(name))
    sheet.asm.mov_imm(3, kind)
    sheet.asm.mov_imm(4, flags)
    sheet.call("btf_find_by_name_kind")


NAMES = (
    (b"task_struct\0", Kind.STRUCT, 0),
    (b"task_struct\0", Kind.UNION, 0),
    (b"task_struct\0", 99, 0),
    (b"task_struct\0", Kind.STRUCT, 1),
    (b"task_struct", Kind.STRUCT, 0),
    (b"no_such_type_anywhere\0", Kind.STRUCT, 0),
    (b"\0", Kind.STRUCT, 0),
    (b"__sys_bpf\0", Kind.FUNC, 0),
)


@pytest.mark.kernel
def test_types_like_the_kernels() -> None:
    sheet = Sheet()
    for name, kind, flags in NAMES:
        find(sheet, name, kind=kind, flags=flags)
    vmlinux = Btf(Path("/sys/kernel/btf/vmlinux").read_bytes())
    found = agree(sheet, SimulatedKernel(ORDER, names=KernelImage(vmlinux)))
    assert found[0] > 0 and found[1] == -Errno.ENOENT


def look_up(sheet: Sheet, name: bytes, *, flags: int = 0) -> None:
    """bpf_kallsyms_lookup_name, which writes to `OUT`"""
    sheet.address(1, sheet.data(name))
    sheet.asm.mov_imm(2, len(name))
    sheet.asm.mov_imm(3, flags)
    sheet.address(4, OUT)
    sheet.call("kallsyms_lookup_name")


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("name", "flags"),
    [(b"no_such_symbol_anywhere\0", 0), (b"bpf_prog_put\0", 1), (b"bpf_prog_put", 0), (b"\0", 0)],
)
def test_symbols_that_are_not_found_like_the_kernels(name: bytes, flags: int) -> None:
    sheet = Sheet()
    look_up(sheet, name, flags=flags)
    faults = Faults(missing=frozenset(("no_such_symbol_anywhere",)))
    (result,) = agree(sheet, SimulatedKernel(ORDER, faults=faults))
    assert result < 0


def test_symbol() -> None:
    sheet = Sheet()
    look_up(sheet, b"some_symbol\0")
    replay = sheet.run()
    assert results(sheet, replay.blob) == [0]
    address = AnyName().address("some_symbol")
    assert int.from_bytes(replay.blob[OUT : OUT + 8], ORDER) == address
    (record,) = replay.records
    assert (record.cmd, record.attr["name"], record.result) == (
        RecordedHelper.KALLSYMS,
        "some_symbol",
        address,
    )


# -- the system calls ---------------------------------------------------------------------------


def sys_bpf(sheet: Sheet, cmd: int, attr: int, size: int) -> None:
    sheet.asm.mov_imm(1, cmd)
    sheet.address(2, attr)
    sheet.asm.mov_imm(3, size)
    sheet.call("sys_bpf")


@pytest.mark.kernel
def test_commands_of_programs_like_the_kernels() -> None:
    """Those that are allowed notice a tail that is in use (E2BIG), others are EINVAL."""
    release = tuple(int(part) for part in platform.release().split(".")[:2])
    if release < (6, 18):
        pytest.skip("older kernels have other attrs")
    found = []
    for first in range(0, 40, 8):
        sheet = Sheet()
        attr = sheet.data(bytes(SIZE) + b"\1")
        for cmd in range(first, first + 8):
            sys_bpf(sheet, cmd, attr, SIZE + 1)
        found += agree(sheet)
    assert found.count(-Errno.E2BIG) == 9


@pytest.mark.kernel
def test_close_like_the_kernels() -> None:
    sheet = Sheet()
    for fd in (9999, -1):
        sheet.asm.mov_imm(1, fd)
        sheet.call("sys_close")
    assert agree(sheet) == [-Errno.EBADF, -Errno.EBADF]


def test_calls_and_their_record() -> None:
    sheet = Sheet()
    attr = encode(
        MAP_CREATE, 72, ORDER, map_type=MapType.ARRAY, key_size=4, value_size=4, max_entries=1
    )
    sys_bpf(sheet, Cmd.MAP_CREATE, sheet.data(bytes(attr)), len(attr))
    sheet.asm.mov(1, 0)
    sheet.call("sys_close")
    replay = sheet.run()
    assert results(sheet, replay.blob) == [3, 0]
    assert [record.name for record in replay.records] == ["BPF_MAP_CREATE", "close"]
    assert replay.records[0].size == 72
    assert not replay.open_fds


# -- maps -----------------------------------------------------------------------------------------


def load_blob_map(sheet: Sheet, register: int) -> None:
    sheet.asm.emit(Insn(i.OP_LD_IMM64, register, Pseudo.MAP_IDX))
    sheet.asm.emit(Insn(0))


@pytest.mark.kernel
@pytest.mark.parametrize("key", [0, 1])
def test_elements_like_the_kernels(key: int) -> None:
    """A program looks up the blob itself, and writes to it by what it finds."""
    sheet = Sheet()
    load_blob_map(sheet, 1)
    sheet.address(2, sheet.data(key.to_bytes(4, ORDER)))
    sheet.asm.call("map_lookup_elem")
    sheet.asm.jump_if(i.JEQ, 0, 0, "none")
    sheet.asm.store_imm(8, 0, OUT, 7)
    sheet.asm.label("none")
    load_blob_map(sheet, 1)
    sheet.address(2, sheet.data(key.to_bytes(4, ORDER)))
    sheet.call("map_delete_elem")
    agree(sheet)


@pytest.mark.kernel
@pytest.mark.parametrize("key", [0, 1])
@pytest.mark.parametrize("flags", [0, 1, 2, 3])
def test_updates_like_the_kernels(key: int, flags: int) -> None:
    """The blob's own map gets a value that lies in it."""
    sheet = Sheet()
    load_blob_map(sheet, 1)
    sheet.address(2, sheet.data(key.to_bytes(4, ORDER)))
    sheet.asm.mov(3, BLOB)
    sheet.asm.mov_imm(4, flags)
    sheet.call("map_update_elem")
    agree(sheet)


# -- bpf_loop -------------------------------------------------------------------------------------


def loops(count: int, flags: int = 0) -> Sheet:
    """Adds the index of each round to a number in `OUT`; stops after round 5."""
    sheet = Sheet()
    sheet.blob[OUT : OUT + 8] = bytes(8)
    sheet.asm.mov_imm(1, count)
    at = len(sheet.asm)
    # Where the callback is, is known below.
    sheet.asm.emit(Insn(i.OP_LD_IMM64, 2, Pseudo.FUNC, imm=99))
    sheet.asm.emit(Insn(0))
    sheet.address(3, OUT)
    sheet.asm.mov_imm(4, flags)
    sheet.call("loop")
    sheet.asm.mov_imm(0, 1)
    sheet.asm.exit()
    sheet.asm._insns[at] = Insn(i.OP_LD_IMM64, 2, Pseudo.FUNC, imm=len(sheet.asm) - at - 1)
    sheet.asm.load(8, 3, 2, 0)
    sheet.asm.emit(Insn(i.ALU64 | i.ADD | i.X, 3, 1))
    sheet.asm.store(8, 2, 0, 3)
    sheet.asm.mov_imm(0, 0)
    sheet.asm.jump_if(i.JLT, 1, 5, "on")
    sheet.asm.mov_imm(0, 1)
    sheet.asm.label("on")
    sheet.asm.exit()
    return sheet


@pytest.mark.parametrize(
    ("count", "flags", "returned", "total"),
    [
        (0, 0, 0, 0),
        (3, 0, 3, 3),
        (100, 0, 6, 15),
        (3, 1, -Errno.EINVAL, 0),
        ((1 << 23) + 1, 0, -Errno.E2BIG, 0),
    ],
)
def test_loop(count: int, flags: int, returned: int, total: int) -> None:
    sheet = loops(count, flags)
    replay = sheet.run()
    assert results(sheet, replay.blob) == [returned]
    assert int.from_bytes(replay.blob[OUT : OUT + 8], ORDER) == total


# -- trace_printk ---------------------------------------------------------------------------------


def prints(template: bytes, *args: int) -> Sheet:
    sheet = Sheet()
    sheet.address(1, sheet.data(template))
    sheet.asm.mov_imm(2, len(template))
    for register, value in enumerate(args, 3):
        sheet.asm.mov_imm(register, value)
    sheet.call("trace_printk")
    return sheet


PRINTED: tuple[tuple[bytes, tuple[int, ...], str], ...] = (
    (b"plain\0", (), "plain"),
    (b"close(%d) = %d\0", (5, -9), "close(5) = -9"),
    (b"%u %x %X\0", (-1, 255, 255), "4294967295 ff FF"),
    (b"%ld %llx\0", (-1, -1), f"-1 {(1 << 64) - 1:x}"),
    (b"%5d|%-5d|%05d\0", (1, 2, 3), "    1|2    |00003"),
    (b"100%%\0", (), "100%"),
)


@pytest.mark.parametrize(("template", "args", "text"), PRINTED)
def test_printed(template: bytes, args: tuple[int, ...], text: str) -> None:
    sheet = prints(template, *args)
    replay = sheet.run()
    assert replay.printed == (text,)
    assert results(sheet, replay.blob) == [len(text)]


@pytest.mark.parametrize("template", [b"no end", b"%q\0", b"%d %d %d %d\0", b"%\0"])
def test_refused_formats(template: bytes) -> None:
    sheet = prints(template, 1, 2, 3)
    replay = sheet.run()
    assert (replay.printed, results(sheet, replay.blob)) == ((), [-Errno.EINVAL])


def test_printed_strings() -> None:
    sheet = Sheet()
    sheet.address(1, sheet.data(b"<%s>\0"))
    sheet.asm.mov_imm(2, 5)
    sheet.address(3, sheet.data(b"text\0"))
    sheet.call("trace_printk")
    assert sheet.run().printed == ("<text>",)
