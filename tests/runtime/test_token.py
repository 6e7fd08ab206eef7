"""BPF tokens: the examples' script makes a user namespace, where bpf(2) has no other rights."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import lskel
from lskel.bpf.enums import AttachType, Cmd, MapType, ProgType
from lskel.bpf.flags import MapFlag
from lskel.bpf.layouts import BTF_LOAD, GET_ID, MAP_CREATE, PROG_LOAD
from lskel.cli.status import Status
from lskel.runtime.permissions import Situation, why_refused
from lskel.runtime.syscall import KernelError
from lskel.runtime.token import VARIABLE, TokenRights, open_token
from lskel.runtime.token_fields import add_token, scope
from tests import bpftool
from tests.build.clang import EXAMPLES, compile_bpf, example
from tests.conftest import lacking

DELEGATE = EXAMPLES / "delegate.py"
# The least for a loader of `hello`: it makes an array and a raw_tracepoint program.
LEAST = {
    "cmds": "map_create:prog_load:btf_load",
    "maps": "array",
    "progs": "syscall:raw_tracepoint",
    "attachs": "cgroup_inet_ingress",
}
LSKEL = (sys.executable, "-m", "lskel")

# A map of maps, whose inner map is made after the load, and an arena, which is made before it.
MAPS = """
struct inner { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 4);
               __type(key, __u32); __type(value, __u32); };
struct { __uint(type, BPF_MAP_TYPE_HASH_OF_MAPS); __uint(max_entries, 4); __type(key, __u32);
         __array(values, struct inner); } outer SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARENA); __uint(map_flags, BPF_F_MMAPABLE);
         __uint(max_entries, 2); } arena SEC(".maps");
int seen;
SEC("syscall") int count(void *ctx)
{
    __u32 key = 1;
    void *inner = bpf_map_lookup_elem(&outer, &key);
    __u32 *value = inner ? bpf_map_lookup_elem(inner, &key) : 0;
    asm volatile("%0 = %1" :: "r"(0), "r"(&arena));
    seen = value ? *value : -1;
    return 0;
}
"""
USE = """
import sys
import lskel
with lskel.load(sys.argv[1], direct=sys.argv[2] == "direct") as bpf:
    bpf.load()
    inner = bpf.maps.outer.new()
    inner[1] = 42
    bpf.maps.outer[1] = inner
    bpf.progs.count.run(ctx=bytes(4))
    print(bpf.bss.seen)
"""


def delegated(
    *command: object,
    options: Mapping[str, str] = {},
    status: int = 0,
    env: Mapping[str, str] = {},
) -> tuple[str, str]:
    """Stdout and stderr of a command in a user namespace whose /sys/fs/bpf delegates `options`.

    All of each, if there are none.
    """
    given = [word for key, value in options.items() for word in ("-o", f"delegate_{key}={value}")]
    words = [sys.executable, str(DELEGATE), *given, *map(str, command)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment.pop(VARIABLE, None)
    done = subprocess.run(
        words, capture_output=True, text=True, env={**environment, **env}, check=False
    )
    if "fsconfig" in done.stderr or "unshare" in done.stderr:
        lacking(f"no user namespace with a bpffs that delegates: {done.stderr.splitlines()[-1]}")
    assert done.returncode == status, done.stderr
    return done.stdout, done.stderr


@pytest.mark.kernel
@pytest.mark.parametrize(
    "how", [("--form", "table"), ("--form", "unrolled"), ("--replay", "direct")], ids=" ".join
)
def test_load(how: tuple[str, ...]) -> None:
    for options in ({}, LEAST):
        out, _ = delegated(*LSKEL, "load", example("hello"), *how, options=options)
        assert "program  hello" in out and "hello.bss" in out


@pytest.mark.kernel
def test_what_the_object_needs_must_be_delegated() -> None:
    """syscount has a hash."""
    for how in ("kernel", "direct"):
        words = (*LSKEL, "load", example("syscount"), "--replay", how)
        _, err = delegated(*words, status=Status.FAILURE, options=LEAST)
        assert "BPF_MAP_CREATE of map 'syscalls': EPERM" in err
        assert "delegate_maps=array" in err
        delegated(*words, options={**LEAST, "maps": "array:hash"})


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("lacks", "text"),
    [
        ({"progs": "raw_tracepoint"}, "lacks delegate_progs=syscall, which loader programs need"),
        ({"maps": "hash"}, "lacks delegate_maps=array, which loader programs need"),
        ({"cmds": "map_create:btf_load"}, "lacks delegate_cmds=prog_load, which"),
    ],
)
def test_what_loader_programs_need(lacks: dict[str, str], text: str) -> None:
    words = (*LSKEL, "load", example("hello"), "--form", "table")
    _, err = delegated(*words, status=Status.FAILURE, options={**LEAST, **lacks})
    assert "the kernel refuses the loader program" in err and text in err


@pytest.mark.kernel
def test_direct_system_calls_need_no_syscall_programs() -> None:
    words = (*LSKEL, "load", example("hello"), "--replay", "direct")
    delegated(*words, options={**LEAST, "progs": "raw_tracepoint"})


@pytest.mark.kernel
def test_attached_programs_run() -> None:
    out, _ = delegated(*LSKEL, "run", example("hello"), "--duration", "0.2", options=LEAST)
    assert "attached hello to raw_tp/sys_enter" in out
    calls = int(out.partition("calls=")[2].partition(",")[0])
    assert calls > 0


@pytest.mark.kernel
def test_generated_module(tmp_path: Path) -> None:
    """Standard library only: `-I` hides lskel and the environment."""
    lskel.generate(lskel.open_object(example("hello")))
    subprocess.run([*LSKEL, "gen", example("hello"), "-o", tmp_path / "skel.py"], check=True)
    run = tmp_path / "run.py"
    run.write_text(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from skel import Hello\n"
        "bpf = Hello()\n"
        "bpf.token_path = sys.argv[1] if sys.argv[1:] else None\n"
        "with bpf.load(): print(bpf.progs.hello.info().name)\n"
    )
    for words in ((), ("/sys/fs/bpf",)):
        assert delegated(sys.executable, "-I", run, *words)[0] == "hello\n"
    _, err = delegated(sys.executable, "-I", run, "", status=1)
    assert "EPERM" in err and "only with a BPF token" in err
    _, err = delegated(sys.executable, "-I", run, tmp_path, status=1)
    assert f"BPF token: {tmp_path}: bpf(BPF_TOKEN_CREATE): EINVAL" in err


@pytest.mark.kernel
@pytest.mark.parametrize("how", ["loader", "direct"])
def test_maps_made_before_and_after_the_load(how: str, tmp_path: Path) -> None:
    (tmp_path / "maps.bpf.o").write_bytes(compile_bpf(MAPS, "-DBPF_MAP_TYPE_ARENA=33"))
    (tmp_path / "use.py").write_text(USE)
    out, _ = delegated(sys.executable, tmp_path / "use.py", tmp_path / "maps.bpf.o", how)
    assert out == "42\n"


@pytest.mark.kernel
def test_as_libbpf() -> None:
    """bpftool 7.8 loads, and is refused, where lskel is.

    But libbpf asks the kernel what it has with socket filters, and loads wrongly if it may not.
    """
    if bpftool.missing():
        lacking(bpftool.missing())
    load = (*LSKEL, "load", example("hello"))
    theirs = (*bpftool.command(), "prog", "load", example("hello"), "/sys/fs/bpf/hello")
    cases: list[tuple[dict[str, str], dict[str, str], bool]] = [
        ({}, {}, True),
        ({VARIABLE: "/sys/fs/bpf"}, {}, True),
        ({VARIABLE: "/tmp"}, {}, False),
        ({VARIABLE: "/no/such"}, {}, False),
        ({VARIABLE: ""}, {}, False),
        ({}, {**LEAST, "progs": f"{LEAST['progs']}:socket_filter"}, True),
        ({}, {**LEAST, "maps": "hash"}, False),
        ({}, {"cmds": "token_create"}, False),
    ]
    for env, options, loads in cases:
        for words, refused in ((load, Status.FAILURE), (theirs, 255)):
            status = 0 if loads else int(refused)
            delegated(*words, env=env, status=status, options=options)


@pytest.mark.kernel
def test_doctor() -> None:
    out, _ = delegated(*LSKEL, "doctor")
    assert "no, but with a BPF token: delegate_cmds=any, delegate_maps=any" in out
    lines = {line[4:].strip(): line[:4].strip() for line in out.splitlines()}
    assert [mark for title, mark in lines.items() if title.startswith("table loader")] == ["ok"]
    assert [mark for title, mark in lines.items() if title.startswith("bpf_sys_bpf")] == ["ok"]
    delegated(*LSKEL, "doctor", example("hello"), options=LEAST)
    out, _ = delegated(*LSKEL, "doctor", example("syscount"), status=Status.FAILURE, options=LEAST)
    assert "map  syscalls" in out
    out, _ = delegated(*LSKEL, "doctor", "--token-path", "", status=Status.FAILURE)
    assert "only with a BPF token (Linux 6.9)" in out


@pytest.mark.kernel
def test_outside_a_user_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    """None is needed, none can be had, and one that is named is an error."""
    monkeypatch.delenv(VARIABLE, raising=False)
    assert open_token(None) is None
    assert open_token("") is None
    with pytest.raises(KernelError, match="tokens are for user namespaces"):
        open_token("/sys/fs/bpf")
    monkeypatch.setenv(VARIABLE, "/no/such")
    with pytest.raises(KernelError, match="BPF token: /no/such: open: ENOENT"):
        lskel.load(example("hello")).load()
    with lskel.load(example("hello"), token_path="") as bpf:
        bpf.load()


def test_simulated_kernel() -> None:
    bpf = lskel.load(example("hello"), kernel=lskel.SimulatedMachine(), token_path="/sys/fs/bpf")
    with pytest.raises(lskel.NotSupported, match="takes no BPF token"):
        bpf.load()


@pytest.fixture
def token() -> Iterator[None]:
    scope.token = 77
    yield
    scope.token = 0


@pytest.mark.usefixtures("token")
@pytest.mark.parametrize(
    ("cmd", "layout", "flags", "fd"),
    [
        (Cmd.MAP_CREATE, MAP_CREATE, "map_flags", "map_token_fd"),
        (Cmd.PROG_LOAD, PROG_LOAD, "prog_flags", "prog_token_fd"),
        (Cmd.BTF_LOAD, BTF_LOAD, "btf_flags", "btf_token_fd"),
        (Cmd.BTF_GET_FD_BY_ID, GET_ID, "open_flags", "fd_by_id_token_fd"),
    ],
)
def test_fields(cmd: Cmd, layout: dict[str, tuple[int, int]], flags: str, fd: str) -> None:
    """An attr that is too short grows; one in a blob keeps what follows."""
    attr = bytearray(8)
    add_token(attr, cmd)
    at, size = layout[fd]
    assert len(attr) == at + size
    assert attr[at : at + size] == (77).to_bytes(4, sys.byteorder)
    start, _ = layout[flags]
    assert attr[start : start + 4] == MapFlag.TOKEN_FD.to_bytes(4, sys.byteorder)
    blob = bytearray(b"\x01" * 16 + bytes(at + size) + b"\x02" * 16)
    add_token(blob, cmd, 16)
    assert blob == b"\x01" * 16 + attr + b"\x02" * 16


@pytest.mark.usefixtures("token")
def test_other_commands_take_none() -> None:
    attr = bytearray(8)
    add_token(attr, Cmd.MAP_UPDATE_ELEM)
    assert attr == bytes(8)


def test_rights() -> None:
    rights = TokenRights(
        -1, 1 << MapType.HASH, 1 << ProgType.XDP | 1 << ProgType.SYSCALL, 1 << AttachType.XDP
    )
    assert str(rights) == (
        "delegate_cmds=any, delegate_maps=hash, delegate_progs=xdp:syscall, delegate_attachs=xdp"
    )
    assert str(rights.lacking()) == "delegate_maps=array, delegate_attachs=cgroup_inet_ingress"


@pytest.mark.parametrize(
    ("rights", "text"),
    [
        (None, "--token-path"),
        (TokenRights(-1, -1, 0, -1), "lacks delegate_progs=syscall"),
        (TokenRights(-1, -1, -1, -1), "has delegate_cmds=any"),
    ],
)
def test_why_refused(rights: TokenRights | None, text: str) -> None:
    situation = Situation(0, (1 << 41) - 1, True, 0, 2, "none", rights)
    assert text in why_refused(situation)
