"""Kconfig values, which programs declare by ``extern ... __kconfig``.

As with libbpf, CONFIG_X comes from the configuration file of the running kernel, and a few values
LINUX_X, which are in no file, are determined otherwise. A value is text, as in a configuration
file, until `encode_values` converts it to bytes.
"""

from __future__ import annotations

import errno
import os
import re
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple, Protocol

from lskel.bpf.asm import Assembler
from lskel.bpf.enums import Cmd, ProgType
from lskel.bpf.insn import SIZE
from lskel.bpf.kconfig import KconfigType, KconfigVar
from lskel.bpf.layouts import PROG_LOAD
from lskel.cursor import ByteOrder
from lskel.errors import BadObject, NotFound, UsageError, at
from lskel.runtime.files import read_text
from lskel.runtime.objects import Fd
from lskel.runtime.syscall import BpfError, address_of, bpf, host_attr

_CONFIG = "CONFIG_"
_VIRTUAL = "LINUX_"
_KERNEL_VERSION = "LINUX_KERNEL_VERSION"

_HINT = "set it with --kconfig NAME=VALUE"

_VERSION = r"([0-9]{1,5})\.([0-9]{1,5})\.([0-9]{1,5})"
_NUMBER = re.compile(r"-?(0[xX][0-9a-fA-F]{1,16}|0|[1-9][0-9]{0,19})")

_LICENSE = b"GPL\0"

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WINDOW = zlib.MAX_WBITS | 16

# Prefixes of system calls that get their arguments as struct pt_regs
# (arch/*/include/asm/syscall_wrapper.h), by the machine name of uname(2).
_SYSCALL_PREFIXES = {
    "x86_64": "x64",
    "i386": "ia32",
    "i486": "ia32",
    "i586": "ia32",
    "i686": "ia32",
    "aarch64": "arm64",
    "s390x": "s390x",
    "riscv64": "riscv",
}


class Config(NamedTuple):
    """The values of a configuration by name ("CONFIG_HZ": "250"); None if no file was found.

    `looked_at` are the files that were tried; only the one that was read, if any.
    """

    values: Mapping[str, str] | None = None
    looked_at: tuple[str, ...] = ()


class KconfigSource(Protocol):
    """A machine that kconfig values come from. None means unknown.

    An attribute is read when a variable needs it, and may be slow or fail. With `unknown_is_zero`
    an unknown value is 0 instead of an error.
    """

    @property
    def config(self) -> Config:
        """The configuration file of its kernel."""

    @property
    def kernel_version(self) -> int | None:
        """As `version_code` returns it."""

    @property
    def has_bpf_cookie(self) -> bool | None:
        """Whether programs may call bpf_get_attach_cookie."""

    @property
    def has_syscall_wrapper(self) -> bool | None:
        """Whether system calls get their arguments as struct pt_regs."""

    @property
    def unknown_is_zero(self) -> bool:
        """Whether an unknown value is 0."""


class FixedSource(NamedTuple):
    """A `KconfigSource` with constant values: another machine, or a simulated one."""

    config: Config = Config()
    kernel_version: int | None = None
    has_bpf_cookie: bool | None = None
    has_syscall_wrapper: bool | None = None
    unknown_is_zero: bool = False


def this_machine() -> KconfigSource:
    """The running kernel (Linux); each value is determined on first use."""
    return _ThisMachine()


def encode_values(
    variables: Sequence[KconfigVar],
    size: int,
    source: KconfigSource,
    order: ByteOrder,
    overrides: Mapping[str, str] = {},
) -> bytes:
    """The value of map .kconfig: `size` bytes, in the byte order of the target.

    `overrides` take precedence over `source`: "y", "m", "250", "0x10", text with or without double
    quotes for an array of char, "6.1.0" for LINUX_KERNEL_VERSION. A weak value that the
    configuration does not set is 0. As with libbpf, text is truncated to fit its array.

    NotFound names all variables without a value: those that are not weak and, without a readable
    configuration, weak ones too. UsageError for a value that does not fit its variable, and for an
    override of an unknown variable; BadObject for a variable that is not CONFIG_ or LINUX_, or lies
    outside the map. BpfError if a test call fails.
    """
    _check_overrides(variables, overrides)
    data = bytearray(size)
    unknown = []
    for var in variables:
        with at(f"kconfig {var.name}"):
            _check(var, size)
            text = _text(var, source, overrides)
            if text is None:
                unknown.append(var)
                continue
            value = _encode(var, text, order)
            if value is None:
                hint = "" if var.name in overrides else _HINT
                raise UsageError(f"{text!r} is not {_describe(var)}", hint=hint)
        data[var.offset : var.offset + var.size] = value
    if not source.unknown_is_zero:
        _check_unknown(unknown, source)
    return bytes(data)


def parse_config(text: str) -> dict[str, str]:
    """The values that a configuration file sets, as text; the first one of each name."""
    lines = [line.partition("=") for line in text.split("\n") if line.startswith(_CONFIG)]
    return {name: value for name, _, value in reversed(lines)}


def read_config(*paths: str) -> Config:
    """The content of the first readable one of these files, gzipped or not."""
    for path in paths:
        try:
            with open(path, "rb") as file:  # noqa: PTH123, see `read_text`
                data = file.read()
            if data.startswith(_GZIP_MAGIC):
                data = zlib.decompress(data, _GZIP_WINDOW)
        except (OSError, zlib.error):
            continue
        return Config(parse_config(data.decode(errors="surrogateescape")), (path,))
    return Config(None, paths)


def version_code(major: int, minor: int, patch: int) -> int:
    """KERNEL_VERSION of uapi/linux/version.h; it has 8 bits for `patch`, and stops at 255."""
    return (major << 16) + (minor << 8) + min(patch, 255)


def parse_version(release: str, version: str, signature: str) -> int | None:
    """The version of a kernel, from uname(2) and Ubuntu's version_signature.

    Distributions leave the patch level in `release` at 0; the true one is in
    /proc/version_signature on Ubuntu ("" if missing), in `version` on Debian.
    """
    found = (
        re.match(rf"\S+\s+\S+\s+{_VERSION}", signature)
        or re.search(rf"Debian {_VERSION}", version)
        or re.match(_VERSION, release)
    )
    return version_code(*map(int, found.groups())) if found else None


class _ThisMachine:
    unknown_is_zero = False

    @cached_property
    def config(self) -> Config:
        """As libbpf, and where Debian has it alone since its packages of Linux 7."""
        release = os.uname().release
        return read_config(
            f"/boot/config-{release}", f"/usr/lib/modules/{release}/config", "/proc/config.gz"
        )

    @cached_property
    def kernel_version(self) -> int | None:
        try:
            signature = read_text("/proc/version_signature")
        except OSError:
            signature = ""
        uname = os.uname()
        return parse_version(uname.release, uname.version, signature)

    @cached_property
    def has_bpf_cookie(self) -> bool:
        """Linux 5.15; BpfError if the test call fails."""
        asm = Assembler(sys.byteorder)
        asm.call("get_attach_cookie")
        asm.exit()
        code = asm.assemble()
        attr = host_attr(
            PROG_LOAD,
            "license",
            prog_type=ProgType.KPROBE,
            insn_cnt=len(code) // SIZE,
            insns=address_of(code),
            license=address_of(_LICENSE),
        )
        try:
            Fd(bpf(Cmd.PROG_LOAD, attr)).close()
        except BpfError as error:
            # The verifier's errno for an unknown helper.
            if error.errno != errno.EINVAL:
                raise
            return False
        return True

    @cached_property
    def has_syscall_wrapper(self) -> bool:
        symbol = f" __{_SYSCALL_PREFIXES.get(os.uname().machine)}_sys_bpf\n".encode()
        try:
            # Only addresses are hidden, names are not.
            with open("/proc/kallsyms", "rb") as symbols:  # noqa: PTH123, see `read_text`
                return any(line.endswith(symbol) for line in symbols)
        except OSError:
            return False


_FINDERS: dict[str, Callable[[KconfigSource], int | None]] = {
    _KERNEL_VERSION: lambda source: source.kernel_version,
    "LINUX_HAS_BPF_COOKIE": lambda source: source.has_bpf_cookie,
    "LINUX_HAS_SYSCALL_WRAPPER": lambda source: source.has_syscall_wrapper,
}

# The numbers of y, n and m; TRISTATE's are those of enum libbpf_tristate.
_LETTERS: dict[KconfigType, dict[str, int]] = {
    KconfigType.BOOL: {"n": 0, "y": 1},
    KconfigType.TRISTATE: {"n": 0, "y": 1, "m": 2},
    KconfigType.CHAR: {letter: ord(letter) for letter in "nym"},
    KconfigType.INT: {},
}
_NUMERIC = (KconfigType.CHAR, KconfigType.INT)

_DESCRIPTIONS = {
    KconfigType.BOOL: "a bool: y or n",
    KconfigType.TRISTATE: "a tristate: y, n or m",
    KconfigType.CHAR: "a char: y, n, m or {sign} number of 1 byte",
    KconfigType.INT: "an int: {sign} number of {size} bytes",
    KconfigType.STRING: "a string in double quotes",
}


def _describe(var: KconfigVar) -> str:
    sign = "a signed" if var.is_signed else "an unsigned"
    return _DESCRIPTIONS[var.type].format(sign=sign, size=var.size)


def _check_overrides(variables: Sequence[KconfigVar], overrides: Mapping[str, str]) -> None:
    known = [var.name for var in variables]
    if strange := sorted(overrides.keys() - known):
        raise UsageError(
            f"no program uses kconfig {', '.join(strange)}",
            hint=f"used: {', '.join(known)}" if known else "the object has no kconfig variables",
        )


def _check(var: KconfigVar, size: int) -> None:
    if not var.name.startswith((_CONFIG, _VIRTUAL)):
        raise BadObject(f"the name starts with neither {_CONFIG} nor {_VIRTUAL}")
    if not 0 <= var.offset <= var.offset + var.size <= size:
        raise BadObject(
            f"bytes {var.offset} to {var.offset + var.size} are outside the map of {size} bytes"
        )


def _check_unknown(unknown: Sequence[KconfigVar], source: KconfigSource) -> None:
    # Read the configuration only if one of its variables is unknown: reading it is slow.
    def is_needed(var: KconfigVar) -> bool:
        unread = var.name.startswith(_CONFIG) and source.config.values is None
        return unread or not var.is_weak

    needed = [var.name for var in unknown if is_needed(var)]
    if not needed:
        return
    what = f"no value for kconfig {', '.join(needed)}"
    if any(name.startswith(_CONFIG) for name in needed):
        verb = "cannot read" if source.config.values is None else "not set in"
        what += f": {verb} {' or '.join(source.config.looked_at) or 'any configuration'}"
    raise NotFound(what, hint=_HINT)


def _text(var: KconfigVar, source: KconfigSource, overrides: Mapping[str, str]) -> str | None:
    """The value as text, as in a configuration file."""
    if var.name in overrides:
        return _override(var, overrides[var.name])
    if var.name.startswith(_CONFIG):
        return (source.config.values or {}).get(var.name)
    find = _FINDERS.get(var.name)
    number = find(source) if find else None
    if number is None:
        return None
    return "ny"[number] if var.type is KconfigType.BOOL and number in (0, 1) else str(int(number))


def _override(var: KconfigVar, text: str) -> str:
    if var.type is KconfigType.STRING and not text.startswith('"'):
        return f'"{text}"'
    if var.name == _KERNEL_VERSION and (found := re.fullmatch(_VERSION, text)):
        return str(version_code(*map(int, found.groups())))
    return text


def _encode(var: KconfigVar, text: str, order: ByteOrder) -> bytes | None:
    """The bytes of the variable; None if the text is not a value of its type."""
    if var.type is KconfigType.STRING:
        return _encode_string(var, text)
    number = _LETTERS[var.type].get(text)
    if number is None and var.type in _NUMERIC and _NUMBER.fullmatch(text):
        number = int(text, 0)
    return None if number is None else _encode_number(var, number, order)


def _encode_string(var: KconfigVar, text: str) -> bytes | None:
    if len(text) < 2 or not text[0] == text[-1] == '"':
        return None
    return text[1:-1].encode(errors="surrogateescape")[: var.size - 1].ljust(var.size, b"\0")


def _encode_number(var: KconfigVar, number: int, order: ByteOrder) -> bytes | None:
    # Numbers in a configuration have 64 bits and no sign: 0xffffffffffffffff is -1 for signed
    # variables. A number fits if truncation and extension give the same 64 bits.
    end = 1 << 8 * var.size
    cut = number % end
    extended = cut - end if var.is_signed and cut >= end // 2 else cut
    if abs(number) >= 1 << 64 or (number - extended) % (1 << 64):
        return None
    return cut.to_bytes(var.size, order)
