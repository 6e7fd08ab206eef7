"""Values of the kernel's configuration, next to what libbpf itself makes of the same."""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest

from lskel.bpf.enums import Cmd
from lskel.bpf.kconfig import KconfigType, KconfigVar
from lskel.btf.kinds import Kind
from lskel.errors import BadObject, LskelError, NotFound, UsageError
from lskel.runtime import kconfig
from lskel.runtime.kconfig import (
    Config,
    FixedSource,
    encode_values,
    parse_config,
    parse_version,
    read_config,
    this_machine,
    version_code,
)
from lskel.runtime.syscall import BpfError
from tests.build.clang import compile_bpf
from tests.conftest import lacking
from tests.runtime.programs import kernel_btf

BOOL, CHAR, INT = KconfigType.BOOL, KconfigType.CHAR, KconfigType.INT
TRISTATE, STRING = KconfigType.TRISTATE, KconfigType.STRING

# For an object and configurations in arguments: where libbpf puts the externs, and a line with
# the bytes of .kconfig for each configuration, "-" where libbpf refuses it. "" is this machine's.
LIBBPF = r"""
#include <stdio.h>
#include <string.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

static int quiet(enum libbpf_print_level level, const char *format, va_list args) { return 0; }

static struct bpf_object *opened(const char *path, const char *config)
{
    LIBBPF_OPTS(bpf_object_open_opts, opts);
    if (*config)
        opts.kconfig = config;
    return bpf_object__open_file(path, &opts);
}

int main(int argc, char **argv)
{
    libbpf_set_print(quiet);
    struct bpf_object *object = opened(argv[1], "");
    if (!object)
        return 1;
    const struct btf *btf = bpf_object__btf(object);
    int id = btf__find_by_name_kind(btf, ".kconfig", BTF_KIND_DATASEC);
    const struct btf_type *section = btf__type_by_id(btf, id);
    const struct btf_var_secinfo *var = btf_var_secinfos(section);
    for (int i = 0; i < btf_vlen(section); i++, var++) {
        const struct btf_type *type = btf__type_by_id(btf, var->type);
        printf("%s %u %u\n", btf__name_by_offset(btf, type->name_off), var->offset, var->size);
    }
    bpf_object__close(object);
    puts("");

    for (int i = 2; i < argc; i++) {
        object = opened(argv[1], argv[i]);
        if (!object)
            return 1;
        if (bpf_object__load(object)) {
            puts("-");
        } else {
            unsigned char value[4096];
            struct bpf_map *map = bpf_object__find_map_by_name(object, ".kconfig");
            int key = 0;
            if (bpf_map_lookup_elem(bpf_map__fd(map), &key, value))
                return 1;
            for (unsigned int byte = 0; byte < bpf_map__value_size(map); byte++)
                printf("%02x", value[byte]);
            puts("");
        }
        bpf_object__close(object);
    }
    return 0;
}
"""


class Declared(NamedTuple):
    """An extern as C declares it, and what that means."""

    declaration: str
    type: KconfigType
    is_signed: bool = False
    is_weak: bool = False

    @property
    def name(self) -> str:
        return self.declaration.split()[-1].partition("[")[0]

    @property
    def source(self) -> str:
        weak = " __attribute__((weak))" if self.is_weak else ""
        return f"extern {self.declaration} __kconfig{weak};"


class Reference(NamedTuple):
    """What libbpf says: the variables with their places, and a value for each configuration."""

    variables: list[KconfigVar]
    size: int
    values: list[bytes | None]


@cache
def libbpf_tool(directory: Path) -> Path:
    if not shutil.which("gcc") or not Path("/usr/include/bpf/libbpf.h").exists():
        lacking("gcc and libbpf-dev are not installed")
    tool = directory / "values"
    command = ["gcc", "-x", "c", "-", "-o", str(tool), "-lbpf"]
    subprocess.run(command, input=LIBBPF, text=True, check=True)
    return tool


Libbpf = Callable[[Sequence[Declared], Sequence[str]], Reference]


@pytest.fixture
def libbpf(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Libbpf:
    def ask(declared: Sequence[Declared], configs: Sequence[str]) -> Reference:
        uses = [f"sink += {d.name}{'[0]' if d.type is STRING else ''};" for d in declared]
        code = [d.source for d in declared]
        code.append(f'SEC("socket") int prog(void *c) {{ volatile long sink = 0; {"".join(uses)}')
        path = tmp_path / "externs.bpf.o"
        path.write_bytes(compile_bpf("\n".join([*code, "return sink; }"])))

        tool = libbpf_tool(tmp_path_factory.getbasetemp())
        done = subprocess.run([tool, path, *configs], capture_output=True, text=True, check=True)
        layout, _, values = done.stdout.partition("\n\n")
        by_name = {d.name: d for d in declared}
        variables = []
        for line in layout.splitlines():
            name, offset, size = line.split()
            kind = by_name[name]
            variables.append(
                KconfigVar(name, kind.type, int(size), kind.is_signed, int(offset), kind.is_weak)
            )
        assert len(variables) == len(declared)
        return Reference(
            variables,
            max(var.offset + var.size for var in variables),
            [None if line == "-" else bytes.fromhex(line) for line in values.splitlines()],
        )

    return ask


# Of each type one, with a value that suits it.
EVERY_TYPE = {
    Declared("_Bool CONFIG_B", BOOL): "y",
    Declared("enum libbpf_tristate CONFIG_T", TRISTATE): "m",
    Declared("char CONFIG_C", CHAR, is_signed=True): "n",
    Declared("unsigned char CONFIG_U1", CHAR): "7",
    Declared("short CONFIG_S2", INT, is_signed=True): "-7",
    Declared("unsigned short CONFIG_U2", INT): "0xfFfF",
    Declared("int CONFIG_S4", INT, is_signed=True): "0X10",
    Declared("unsigned int CONFIG_U4", INT): "250",
    Declared("long CONFIG_S8", INT, is_signed=True): "0xdead000000000000",
    Declared("unsigned long CONFIG_U8", INT): "-1",
    Declared("char CONFIG_A[8]", STRING): '"text"',
}
TEXTS = (
    *("y", "n", "m", "0", "1", "2", "-0"),
    *('"y"', '""', '"open', 'closed"', '"7 bytes"', '"eight !!"', '"far too long"', '"é"'),
    *('"quo"ted"', r'"es\"c"', "127", "128", "-128", "-129", "255", "256", "32767", "32768"),
    *("-32768", "-32769", "65535", "65536", "2147483647", "2147483648", "-2147483648"),
    *("-2147483649", "4294967295", "4294967296", "9223372036854775807", "9223372036854775808"),
    *("-9223372036854775808", "18446744073709551615", "18446744073709551616", "0x", "0x1g"),
    *(
        "-18446744073709551615",
        "-18446744073709551616",
        "0xffffffffffffffff",
        "0x10000000000000000",
        "7 ",
        "text",
        "1_0",
        "0b1",
        "1.5",
        "--1",
    ),
)


def attempt(reference: Reference, source: FixedSource) -> bytes | None:
    try:
        return encode_values(reference.variables, reference.size, source, "little")
    except UsageError:
        return None


@pytest.mark.kernel
@pytest.mark.parametrize("declared", EVERY_TYPE, ids=lambda d: str(d.declaration))
def test_every_text_for_every_type(libbpf: Libbpf, declared: Declared) -> None:
    configs = [
        "".join(
            f"{d.name}={text if d is declared else suitable}\n"
            for d, suitable in EVERY_TYPE.items()
        )
        for text in (EVERY_TYPE[declared], *TEXTS)
    ]
    reference = libbpf(list(EVERY_TYPE), configs)
    ours = [attempt(reference, FixedSource(Config(parse_config(c)))) for c in configs]
    assert dict(zip(configs, ours, strict=True)) == dict(
        zip(configs, reference.values, strict=True)
    )
    assert ours[0] is not None
    assert None in ours


@pytest.mark.kernel
def test_a_configuration_says_more_than_values(libbpf: Libbpf) -> None:
    declared = [
        Declared("int CONFIG_X", INT, is_signed=True, is_weak=True),
        Declared("int CONFIG_XY", INT, is_signed=True, is_weak=True),
        Declared("char CONFIG_S[4]", STRING, is_weak=True),
    ]
    text = '#\n# CONFIG_X is not set\n CONFIG_X=1\nCONFIG_XY=2\n\nCONFIG_XY=3\nCONFIG_S="==\'"\n'
    reference = libbpf(declared, [text])
    source = FixedSource(Config(parse_config(text)))
    assert [attempt(reference, source)] == reference.values
    assert parse_config(text) == {"CONFIG_XY": "2", "CONFIG_S": '"==\'"'}


@pytest.mark.kernel
def test_this_machine_is_as_libbpf_sees_it(libbpf: Libbpf) -> None:
    declared = [
        Declared("_Bool CONFIG_BPF_SYSCALL", BOOL),
        Declared("enum libbpf_tristate CONFIG_NET", TRISTATE),
        Declared("char CONFIG_BPF", CHAR, is_signed=True),
        Declared("unsigned short CONFIG_HZ", INT),
        Declared("unsigned long CONFIG_NR_CPUS", INT),
        Declared("char CONFIG_CC_VERSION_TEXT[8]", STRING),
        Declared("char CONFIG_LSM[1000]", STRING, is_weak=True),
        Declared("_Bool CONFIG_NOT_THERE", BOOL, is_weak=True),
        Declared("_Bool LINUX_HAS_BPF_COOKIE", BOOL),
        Declared("long LINUX_NOT_THERE", INT, is_signed=True, is_weak=True),
    ]
    # Before 1.3 libbpf did not know where Debian says its version.
    if "Debian" not in os.uname().version:
        declared.append(Declared("unsigned int LINUX_KERNEL_VERSION", INT))
    # libbpf tries to set a kprobe, and says no where the kernel has none at all.
    if Path("/sys/bus/event_source/devices/kprobe").exists():
        declared.append(Declared("int LINUX_HAS_SYSCALL_WRAPPER", INT, is_signed=True))
    reference = libbpf(declared, [""])
    ours = encode_values(reference.variables, reference.size, this_machine(), "little")
    assert [ours] == reference.values


@pytest.mark.kernel
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the name is another one there")
def test_wrappers_of_system_calls_have_types_too() -> None:
    found = kernel_btf().find_kind("__x64_sys_bpf", Kind.FUNC)
    assert this_machine().has_syscall_wrapper == (found is not None)


@pytest.mark.kernel
@pytest.mark.parametrize(
    "declared",
    [
        Declared("_Bool LINUX_KERNEL_VERSION", BOOL),
        Declared("unsigned short LINUX_KERNEL_VERSION", INT),
        Declared("char LINUX_KERNEL_VERSION[9]", STRING),
        Declared("enum libbpf_tristate LINUX_HAS_BPF_COOKIE", TRISTATE),
        Declared("char LINUX_HAS_BPF_COOKIE", CHAR, is_signed=True),
        Declared("long LINUX_HAS_BPF_COOKIE", INT, is_signed=True),
    ],
    ids=lambda d: str(d.declaration),
)
def test_types_of_what_is_in_no_file(libbpf: Libbpf, declared: Declared) -> None:
    reference = libbpf([declared], ["CONFIG_X=y\n"])
    source = FixedSource(kernel_version=version_code(6, 1, 2), has_bpf_cookie=True)
    assert [attempt(reference, source)] == reference.values


@pytest.mark.kernel
def test_what_has_no_value_is_refused_by_libbpf_too(libbpf: Libbpf) -> None:
    for name in ("CONFIG_NOT_THERE", "LINUX_NOT_THERE", "NOT_THERE"):
        reference = libbpf([Declared(f"int {name}", INT)], ["CONFIG_X=y\n"])
        assert reference.values == [None]
        with pytest.raises((NotFound, BadObject), match=name):
            encode_values(reference.variables, reference.size, this_machine(), "little")


@pytest.mark.skipif(not Path("/proc/config.gz").exists(), reason="the kernel does not say it")
def test_the_file_of_the_kernel() -> None:
    found = subprocess.run(
        "zcat /proc/config.gz | grep -a ^CONFIG_", shell=True, capture_output=True, check=True
    )
    config = read_config("/nowhere/config", "/proc/config.gz")
    assert config.looked_at == ("/proc/config.gz",)
    assert config.values is not None
    lines = [f"{name}={value}" for name, value in config.values.items()]
    assert sorted(lines) == sorted(found.stdout.decode().splitlines())


def test_plain_gzipped_and_damaged_files(tmp_path: Path) -> None:
    plain, packed, damaged = tmp_path / "plain", tmp_path / "packed", tmp_path / "damaged"
    plain.write_bytes(b'CONFIG_X="\xff"\n')
    packed.write_bytes(gzip.compress(b"CONFIG_X=m\n"))
    damaged.write_bytes(gzip.compress(b"CONFIG_X=m\n")[:-9])
    missing = tmp_path / "missing"
    assert read_config(str(damaged), str(packed), str(plain)) == Config(
        {"CONFIG_X": "m"}, (str(packed),)
    )
    assert read_config(str(missing), str(damaged)) == Config(None, (str(missing), str(damaged)))
    source = FixedSource(read_config(str(plain)))
    assert encode_values([variable(STRING, 4)], 4, source, "little") == b"\xff\0\0\0"


@pytest.mark.parametrize(
    ("release", "version", "signature", "expected"),
    [
        ("6.1.55-generic", "#1 SMP", "", 0x060137),
        ("6.18.44", "#1 SMP", "", 0x06122C),
        ("5.4.0-12-generic", "#1", "Ubuntu 5.4.0-12.15-generic 5.4.8", 0x050408),
        ("6.1.0-13-amd64", "#1 SMP Debian 6.1.55-1 (2023-09-29)", "", 0x060137),
        ("6.5.0-0-amd64", "#1 SMP Debian 6.5~rc4-1~exp1 (2023-07-31)", "", 0x060500),
        ("4.14.336", "#1", "", 0x040EFF),
        ("5.4.1", "#1", "Ubuntu 5.4", 0x050401),
        ("6.6-rc1", "#1", "", None),
    ],
)
def test_versions(release: str, version: str, signature: str, expected: int | None) -> None:
    assert parse_version(release, version, signature) == expected


def variable(
    kind: KconfigType, size: int, name: str = "CONFIG_X", *, offset: int = 0, is_weak: bool = False
) -> KconfigVar:
    return KconfigVar(name, kind, size, False, offset, is_weak)


def test_byte_order_and_gaps() -> None:
    variables = [
        variable(INT, 4),
        variable(INT, 2, "CONFIG_Y", offset=6),
        variable(TRISTATE, 4, "CONFIG_Z", offset=8),
    ]
    source = FixedSource(Config({"CONFIG_X": "1", "CONFIG_Y": "0x203", "CONFIG_Z": "m"}))
    big = encode_values(variables, 13, source, "big")
    assert big == bytes((0, 0, 0, 1, 0, 0, 2, 3, 0, 0, 0, 2, 0))
    little = encode_values(variables, 13, source, "little")
    assert little == bytes((1, 0, 0, 0, 0, 0, 3, 2, 2, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("var", "text", "expected"),
    [
        (variable(BOOL, 1), "y", b"\1"),
        (variable(TRISTATE, 4), "m", b"\2\0\0\0"),
        (variable(CHAR, 1), "m", b"m"),
        (variable(INT, 2), "0x10", b"\x10\0"),
        (variable(STRING, 6), "text", b"text\0\0"),
        (variable(STRING, 6), '"text"', b"text\0\0"),
        (variable(STRING, 6), "too long", b"too l\0"),
        (variable(STRING, 2), "1", b"1\0"),
        (variable(STRING, 2), "", b"\0\0"),
        (variable(INT, 4, "LINUX_KERNEL_VERSION"), "6.1.300", b"\xff\1\6\0"),
        (variable(INT, 4, "LINUX_KERNEL_VERSION"), "7", b"\7\0\0\0"),
        (variable(BOOL, 1, "LINUX_HAS_BPF_COOKIE"), "y", b"\1"),
        (variable(INT, 1, "LINUX_NOT_THERE"), "5", b"\5"),
    ],
)
def test_overrides(var: KconfigVar, text: str, expected: bytes) -> None:
    source = FixedSource(Config({"CONFIG_X": "n"}), kernel_version=1, has_bpf_cookie=False)
    assert encode_values([var], var.size, source, "little", {var.name: text}) == expected


@pytest.mark.parametrize(
    ("var", "text", "message"),
    [
        (variable(BOOL, 1), "m", "'m' is not a bool: y or n"),
        (variable(BOOL, 1), "1", "'1' is not a bool"),
        (variable(TRISTATE, 4), "x", "'x' is not a tristate: y, n or m"),
        (variable(CHAR, 1), "256", "'256' is not a char: y, n, m or an unsigned number of 1 byte"),
        (variable(INT, 2), "y", "'y' is not an int: an unsigned number of 2 bytes"),
        (variable(INT, 2)._replace(is_signed=True), "40000", "a signed number of 2 bytes"),
        (variable(INT, 2), "9" * 9999, "is not an int"),
        (variable(INT, 2), "٣", "is not an int"),
        (variable(INT, 4), "6.1.0", "'6.1.0' is not an int"),
        # libbpf 1.1 takes it, and puts what lies behind it into the map.
        (variable(STRING, 4), '"', "is not a string in double quotes"),
        (variable(STRING, 4), '"open', "is not a string in double quotes"),
    ],
)
def test_bad_values(var: KconfigVar, text: str, message: str) -> None:
    with pytest.raises(UsageError) as by_override:
        encode_values([var], var.size, FixedSource(), "little", {var.name: text})
    with pytest.raises(UsageError) as by_config:
        encode_values([var], var.size, FixedSource(Config({var.name: text})), "little")
    for raised in (by_override, by_config):
        assert str(raised.value).startswith(f"kconfig {var.name}: ")
        assert message in str(raised.value)
    assert "--kconfig" in str(by_config.value)


def test_overrides_of_nothing() -> None:
    given = {"CONFIG_Z": "1", "CONFIG_B": "2", "CONFIG_X": "3"}
    with pytest.raises(UsageError) as raised:
        encode_values([variable(INT, 4)], 4, FixedSource(), "little", given)
    assert str(raised.value) == "no program uses kconfig CONFIG_B, CONFIG_Z (used: CONFIG_X)"
    with pytest.raises(UsageError, match="no kconfig variables"):
        encode_values([], 0, FixedSource(), "little", given)
    assert encode_values([], 3, FixedSource(), "little") == bytes(3)


MIXED = [
    variable(INT, 1),
    variable(INT, 1, "CONFIG_Y", offset=1, is_weak=True),
    variable(INT, 1, "CONFIG_Z", offset=2),
    variable(INT, 1, "LINUX_NOT_THERE", offset=3),
    variable(INT, 1, "LINUX_NEITHER", offset=4, is_weak=True),
]


def test_all_that_is_missing_is_named() -> None:
    with pytest.raises(NotFound) as raised:
        encode_values(MIXED, 5, FixedSource(Config({"CONFIG_Z": "9"}, ("/boot/x",))), "little")
    assert str(raised.value) == (
        "no value for kconfig CONFIG_X, LINUX_NOT_THERE: not set in /boot/x "
        "(set it with --kconfig NAME=VALUE)"
    )
    given = {"CONFIG_X": "1", "LINUX_NOT_THERE": "2"}
    source = FixedSource(Config({"CONFIG_Z": "9"}))
    assert encode_values(MIXED, 5, source, "little", given) == b"\1\0\x09\2\0"


def test_without_a_configuration_nothing_is_known_to_be_missing() -> None:
    with pytest.raises(NotFound) as raised:
        encode_values(MIXED, 5, FixedSource(Config(None, ("/boot/x", "/proc/y"))), "little")
    assert str(raised.value) == (
        "no value for kconfig CONFIG_X, CONFIG_Y, CONFIG_Z, LINUX_NOT_THERE: "
        "cannot read /boot/x or /proc/y (set it with --kconfig NAME=VALUE)"
    )


def test_a_simulated_machine_may_know_little() -> None:
    source = FixedSource(unknown_is_zero=True)
    assert encode_values(MIXED, 5, source, "little", {"CONFIG_Z": "3"}) == b"\0\0\3\0\0"


def test_what_no_configuration_can_have() -> None:
    source = FixedSource(unknown_is_zero=True)
    with pytest.raises(BadObject, match=r"kconfig HZ: .*neither CONFIG_ nor LINUX_"):
        encode_values([variable(INT, 4, "HZ", is_weak=True)], 4, source, "little")
    with pytest.raises(BadObject, match="bytes 2 to 6 are outside the map of 4 bytes"):
        encode_values([variable(INT, 4, offset=2)], 4, source, "little")


def test_nothing_is_found_out_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    def untouched(*_: object) -> NoReturn:
        raise AssertionError("not needed")

    for name in ("read_config", "bpf", "open", "read_text"):
        monkeypatch.setattr(kconfig, name, untouched, raising=False)
    variables = [
        variable(INT, 4),
        variable(INT, 4, "LINUX_KERNEL_VERSION", offset=4),
        variable(INT, 4, "LINUX_HAS_BPF_COOKIE", offset=8),
        variable(INT, 4, "LINUX_HAS_SYSCALL_WRAPPER", offset=12),
    ]
    given = {var.name: "1" for var in variables}
    assert encode_values(variables, 16, this_machine(), "little", given) == b"\1\0\0\0" * 4
    with pytest.raises(NotFound, match=r"LINUX_X \("):
        encode_values([variable(INT, 4, "LINUX_X")], 4, this_machine(), "little")


def test_a_kernel_without_cookies(monkeypatch: pytest.MonkeyPatch) -> None:
    var = variable(BOOL, 1, "LINUX_HAS_BPF_COOKIE")
    number = errno.EINVAL

    def refuse(cmd: int, _: bytearray) -> NoReturn:
        assert cmd == Cmd.PROG_LOAD
        raise BpfError(cmd, number)

    monkeypatch.setattr(kconfig, "bpf", refuse)
    assert encode_values([var], 1, this_machine(), "little") == b"\0"
    number = errno.EPERM  # says nothing about cookies
    with pytest.raises(LskelError, match=r"kconfig LINUX_HAS_BPF_COOKIE: bpf.*EPERM"):
        encode_values([var], 1, this_machine(), "little")
