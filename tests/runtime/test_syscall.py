"""bpf(2): errors, addresses, retries, and the numbers of machines."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lskel.bpf.enums import Cmd, MapType
from lskel.bpf.layouts import MAP_CREATE, OBJ
from lskel.errors import LskelError, NotSupported
from lskel.runtime import syscall as module
from lskel.runtime.machine import machine, this_machine
from lskel.runtime.syscall import BpfError, KernelError, address_of, bpf, errno_name, host_attr

ROOM = Path(module.__file__).parent
MODULES = [
    ".".join(("lskel", "runtime", *path.relative_to(ROOM).with_suffix("").parts))
    for path in sorted(ROOM.rglob("*.py"))
    if path.stem[0] != "_"
]


@pytest.mark.kernel
def test_an_error_carries_errno_and_command() -> None:
    attr = host_attr(MAP_CREATE, "max_entries", map_type=MapType.HASH, key_size=0)
    with pytest.raises(BpfError) as raised:
        bpf(Cmd.MAP_CREATE, attr)
    error = raised.value
    assert error.errno == errno.EINVAL
    assert error.cmd is Cmd.MAP_CREATE
    assert str(error) == "bpf(BPF_MAP_CREATE): EINVAL: Invalid argument"
    assert isinstance(error, OSError)
    assert isinstance(error, LskelError)


@pytest.mark.kernel
def test_an_unknown_command_keeps_its_number() -> None:
    with pytest.raises(BpfError) as raised:
        bpf(4095, bytearray(8))
    assert raised.value.cmd == 4095
    assert str(raised.value).startswith("bpf(4095): EINVAL")


def test_names_of_errnos() -> None:
    assert errno_name(errno.EPERM) == "EPERM"
    assert errno_name(524) == "ENOTSUPP"
    assert errno_name(4000) == "errno 4000"


def test_errors_print_their_hint() -> None:
    assert str(KernelError("ioctl(X)", 524, hint="try Y")) == (
        "ioctl(X): ENOTSUPP: Operation is not supported (try Y)"
    )


def test_addresses_lead_to_the_bytes() -> None:
    fixed, changing = b"read\0me", bytearray(b"write me")
    assert ctypes.string_at(address_of(fixed), len(fixed)) == fixed
    ctypes.memset(address_of(changing), ord("W"), 1)
    assert changing == b"Write me"
    changing.append(0)  # nothing keeps it from being resized
    assert address_of(b"") == address_of(bytearray()) == 0


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the kernel will answer, in turn."""
    planned: list[int] = []
    monkeypatch.setattr(module, "syscall", lambda *_: planned.pop(0))
    return planned


@pytest.mark.parametrize("cmd", [Cmd.PROG_LOAD, Cmd.MAP_CREATE, Cmd.LINK_CREATE])
def test_an_interrupted_call_is_repeated(answers: list[int], cmd: Cmd) -> None:
    answers[:] = [-errno.EINTR] * 20 + [7]
    assert bpf(cmd, bytearray(8)) == 7
    assert not answers


@pytest.mark.parametrize("cmd", [Cmd.PROG_RUN, Cmd.MAP_LOOKUP_BATCH, Cmd.MAP_DELETE_BATCH])
def test_a_call_that_may_be_half_done_is_not_repeated(answers: list[int], cmd: Cmd) -> None:
    answers[:] = [-errno.EINTR, 0]
    with pytest.raises(BpfError):
        bpf(cmd, bytearray(8))
    assert answers == [0]


def test_a_load_that_meets_signals_is_tried_five_times_more(answers: list[int]) -> None:
    answers[:] = [-errno.EAGAIN] * 5 + [7]
    assert bpf(Cmd.PROG_LOAD, bytearray(8)) == 7
    answers[:] = [-errno.EAGAIN] * 6 + [7]
    with pytest.raises(BpfError):
        bpf(Cmd.PROG_LOAD, bytearray(8))
    assert answers == [7]


def test_only_loads_are_tried_again(answers: list[int]) -> None:
    answers[:] = [-errno.EAGAIN, 0]
    with pytest.raises(BpfError):
        bpf(Cmd.MAP_CREATE, bytearray(8))
    assert answers == [0]


@pytest.mark.parametrize(
    ("name", "bits", "numbers"),
    [
        ("x86_64", 64, (321, 298, 0x2400, 0x40042408)),
        ("aarch64", 64, (280, 241, 0x2400, 0x40042408)),
        ("riscv64", 64, (280, 241, 0x2400, 0x40042408)),
        ("s390x", 64, (351, 331, 0x2400, 0x40042408)),
        ("ppc64le", 64, (361, 319, 0x20002400, 0x80042408)),
        ("mips64", 64, (5315, 5292, 0x20002400, 0x80042408)),
        ("armv7l", 32, (386, 364, 0x2400, 0x40042408)),
        ("i686", 32, (357, 336, 0x2400, 0x40042408)),
        ("x86_64", 32, (357, 336, 0x2400, 0x40042408)),
    ],
)
def test_numbers_of_machines(name: str, bits: int, numbers: tuple[int, ...]) -> None:
    known = machine("linux", name, bits)
    enable, set_bpf = known.ioc_none | 0x2400, known.ioc_write | 0x42408
    assert (known.bpf, known.perf_event_open, enable, set_bpf) == numbers


def test_numbers_are_those_of_the_c_headers(tmp_path: Path) -> None:
    source = tmp_path / "numbers.c"
    source.write_text(
        "#include <sys/syscall.h>\n#include <sys/ioctl.h>\n#include <linux/perf_event.h>\n"
        "ANSWER SYS_bpf SYS_perf_event_open PERF_EVENT_IOC_ENABLE PERF_EVENT_IOC_SET_BPF\n"
    )
    try:
        result = subprocess.run(["cc", "-E", "-P", source], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("no C compiler")
    if result.returncode:
        pytest.skip(f"the C headers are missing: {result.stderr.splitlines()[0]}")
    text = result.stdout.partition("ANSWER")[2].replace("\n", " ")
    bpf_number, perf_number = re.findall(r"\d+", text)[:2]
    assert int(bpf_number) == this_machine().bpf
    assert int(perf_number) == this_machine().perf_event_open


def test_where_there_is_no_bpf() -> None:
    with pytest.raises(NotSupported, match="needs Linux, this is darwin"):
        machine("darwin", "arm64", 64)
    with pytest.raises(NotSupported, match="64-bit pdp11"):
        machine("linux", "pdp11", 64)


# What looks into the kernel's BTF, or its configuration: few need it, and it is slow to import.
DEAR = {
    "lskel.runtime.attach.busy",
    "lskel.runtime.attach.tracing_multi",
    "lskel.runtime.attach_point",
    "lskel.runtime.inputs",
    "lskel.runtime.kconfig",
    "lskel.runtime.kernel_btf",
    "lskel.runtime.kernel_extern",
    "lskel.runtime.kernel_struct",
    "lskel.runtime.maps.kconfig",
    "lskel.runtime.maps.struct_ops",
}


def test_the_room_needs_the_standard_library_only() -> None:
    assert set(MODULES) >= DEAR
    modules = [module for module in MODULES if module not in DEAR]
    script = f"import {', '.join(modules)}, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-S", "-c", script],
        env={"PYTHONPATH": str(ROOM.parent.parent)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    tops = {name.partition(".")[0] for name in loaded}
    assert tops - sys.stdlib_module_names <= {"lskel", "__main__"}
    # Some are slow to import, and nothing here is worth it.
    assert not tops & {"dataclasses", "inspect", "pathlib", "subprocess", "platform"}
    rooms = {name.split(".")[1] for name in loaded if name.startswith("lskel.")}
    assert rooms <= {
        *("_version", "budget", "cursor", "elf", "errors", "light_typing", "tasks"),
        *("bpf", "btf", "catalog", "runtime"),
    }


def test_the_room_can_be_imported_where_there_is_no_linux() -> None:
    script = f"""
import sys, os, mmap, select
sys.platform = "win32"
sys.modules["fcntl"] = None
for module, names in ((os, "uname geteuid"), (mmap, "PROT_READ MAP_SHARED"), (select, "epoll")):
    for name in names.split():
        delattr(module, name)
import {", ".join(MODULES)}
from lskel.errors import NotSupported
try:
    lskel.runtime.syscall.bpf(0, bytearray(8))
except NotSupported as error:
    print(error)
"""
    result = subprocess.run(
        [sys.executable, "-S", "-c", script],
        env={"PYTHONPATH": str(ROOM.parent.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.startswith("bpf(2) needs Linux, this is win32")


def test_an_attr_ends_with_the_field_asked_for() -> None:
    attr = host_attr(OBJ, "bpf_fd", pathname=1, bpf_fd=2)
    assert len(attr) == 12
    assert int.from_bytes(attr[:8], sys.byteorder) == 1


def test_the_errno_is_this_calls_own() -> None:
    # A syscall that fails between ours must not be taken for ours, nor ours for it.
    assert module.syscall(-1) == -errno.ENOSYS
    with pytest.raises(FileNotFoundError):
        os.stat("/nonexistent/file")  # noqa: PTH116
    assert module.syscall(-1) == -errno.ENOSYS
