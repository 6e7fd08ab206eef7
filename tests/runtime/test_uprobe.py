"""Uprobes: places, what the kernel shows of them, counters, and refusals."""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lskel.bpf.enums import AttachType, Cmd, LinkType, MapType, ProgType
from lskel.errors import BadInput, LskelError, NotFound, UsageError
from lskel.runtime import perf
from lskel.runtime.attach import perf_link
from lskel.runtime.attach.binaries import find_binary
from lskel.runtime.attach.elf_symbols import ElfFile
from lskel.runtime.attach.link import link_create
from lskel.runtime.attach.probe import KprobeProgram, UprobeMultiProgram, UprobeProgram
from lskel.runtime.attach.uprobe import (
    THIS_PROCESS,
    UprobeTarget,
    attach_uprobe_multi,
    file_offsets,
    parse_uprobe_target,
)
from lskel.runtime.info import link_info
from lskel.runtime.objects import Fd
from lskel.runtime.one_element import lookup
from lskel.runtime.program import Program, ProgramDefinition
from lskel.runtime.syscall import BpfError, KernelError
from tests.build.gcc import compile_c
from tests.runtime.programs import counts_in, create_map, load_program

if TYPE_CHECKING:
    from lskel.runtime.attach.link import Link

pytestmark = pytest.mark.kernel

LIBRARY = "libc.so.6"
FUNCTION = "getloadavg"


class Made:
    """Programs of a test, which count in one place; closed with their links in the end."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.links: list[Link] = []
        self._counter = stack.enter_context(create_map(MapType.ARRAY, 4, 8, 1))

    def __call__(self, section: str, attach_type: int = 0) -> Any:
        kind, _, target = section.partition("/")
        of: type[Program] = UprobeMultiProgram if attach_type else UprobeProgram
        program = of(ProgramDefinition("p", kind, target, ProgType.KPROBE, attach_type))
        code = counts_in(self._counter.fileno())
        program.bind(load_program(ProgType.KPROBE, code, attach_type=attach_type), self._keep)
        self.stack.callback(program.close)
        return program

    def multi(self, section: str) -> Any:
        return self(section, AttachType.TRACE_UPROBE_MULTI)

    def _keep(self, _: str, link: Link) -> None:
        self.links.append(link)
        self.stack.callback(link.close)

    def hits(self) -> int:
        value = lookup(self._counter.fileno(), bytes(4), 8)
        assert value is not None
        return int.from_bytes(value, sys.byteorder)


@pytest.fixture
def made() -> Iterator[Made]:
    with ExitStack() as stack:
        yield Made(stack)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("libc.so.6:malloc", UprobeTarget("libc.so.6", "malloc", 0)),
        ("/proc/self/exe:main", UprobeTarget("/proc/self/exe", "main", 0)),
        ("/bin/sh:main+4", UprobeTarget("/bin/sh", "main", 4)),
        ("sh:main+0x1f", UprobeTarget("sh", "main", 31)),
        ("sh:4096", UprobeTarget("sh", "", 4096)),
        ("sh:0x1000", UprobeTarget("sh", "", 4096)),
        ("sh:_ZN3fooC1Ev", UprobeTarget("sh", "_ZN3fooC1Ev", 0)),
        ("sh:rust::name", UprobeTarget("sh", "rust::name", 0)),
    ],
)
def test_place(target: str, expected: UprobeTarget) -> None:
    assert parse_uprobe_target(target) == expected


@pytest.mark.parametrize(
    "target", ["sh", ":main", "sh:", "sh:+4", "sh:main+", "sh:main+x", "sh:4x"]
)
def test_no_place(target: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"'{target}' is not an attach target")):
        parse_uprobe_target(target)


def test_links(made: Made) -> None:
    """The kernel's own types of links."""
    single = made("uprobe/libc.so.6:getloadavg").attach()
    many = made.multi("uprobe.multi/libc.so.6:getloada*").attach()
    assert made.links == [single, many]
    assert link_info(single.fileno()).type == LinkType.PERF_EVENT
    assert link_info(many.fileno()).type == LinkType.UPROBE_MULTI
    os.getloadavg()
    assert made.hits() == 2


KPROBE_MULTI, UPROBE_MULTI = AttachType.TRACE_KPROBE_MULTI, AttachType.TRACE_UPROBE_MULTI
ONE, MANY = "links to one function", "use another SEC(), or set its expected attach type"


@pytest.mark.parametrize(
    ("attach_type", "section", "loaded_for", "hint"),
    [
        (0, "kprobe.multi/tcp_*", ONE, 'use SEC("kprobe.multi"), or set its expected attach type'),
        (0, "uretprobe.multi/libc.so.6:mem*", ONE, "attach type to TRACE_UPROBE_MULTI before load"),
        (UPROBE_MULTI, "kprobe.multi/tcp_*", "uprobe.multi links", "to TRACE_KPROBE_MULTI"),
        (UPROBE_MULTI, "uprobe/libc.so.6:malloc", "uprobe.multi links", MANY),
        (KPROBE_MULTI, "kretprobe/do_unlinkat", "kprobe.multi links", MANY),
        (KPROBE_MULTI, "usdt/libc.so.6:libc:setjmp", "kprobe.multi links", MANY),
        (AttachType.TRACE_UPROBE_SESSION, "usdt/a:b:c", "uprobe.session links", MANY),
    ],
)
def test_what_it_was_not_loaded_for(
    attach_type: int, section: str, loaded_for: str, hint: str
) -> None:
    """The kernel would say EINVAL."""
    program = KprobeProgram(ProgramDefinition("p", "kprobe", "", ProgType.KPROBE, attach_type))
    with pytest.raises(UsageError) as caught:
        program.attach_as(section)
    assert f"program 'p' was loaded for {loaded_for}, which attach_" in str(caught.value)
    assert hint in str(caught.value)


def test_the_kernel_refuses_that(made: Made) -> None:
    program = made("uprobe")
    with pytest.raises(LskelError, match="EINVAL"):
        attach_uprobe_multi(program.fileno(), LIBRARY, [4096])
    program = made.multi("uprobe.multi")
    offsets = file_offsets(find_binary(LIBRARY), [FUNCTION])
    event = perf.open_probe("uprobe", find_binary(LIBRARY).encode(), offsets[0])
    with event, pytest.raises(LskelError, match="EINVAL"):
        link_create(program.fileno(), event.fileno(), AttachType.PERF_EVENT)


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("xdp/lo", "program 'p' cannot attach as 'xdp/lo'"),
        ("malloc", "cannot attach as 'malloc'"),
        ("uprobe", r"'uprobe' has no attach target \(uprobe/BINARY:FUNCTION\)"),
        ("usdt/libc.so.6:setjmp", r"is not an attach target \(BINARY:PROVIDER:NAME\)"),
        ("kprobe/do_unlinkat+x", "'x' is not an offset"),
    ],
)
def test_attach_as_something_else(made: Made, section: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        made("uprobe/libc.so.6:getloadavg").attach_as(section)


def test_offset_in_function(made: Made, tmp_path: Path) -> None:
    """At the second instruction of a function, which starts with one of 4 bytes (endbr64)."""
    source = """
    #include <stdlib.h>
    asm(".globl probed\\n.type probed, @function\\nprobed: .byte 0xf3, 0x0f, 0x1e, 0xfa\\n"
        "later: nop\\nret\\n.size probed, . - probed");
    void probed(void), later(void);
    int main(int count, char **words) { if (count > 1) later(); else probed(); return 0; }
    """
    path = compile_c(source, tmp_path / "program")
    made("uprobe").attach(path, "probed", 4)
    for words, hits in ((["program"], 1), (["program", "later"], 2)):
        pid = os.posix_spawn(path, words, {})
        assert os.waitpid(pid, 0)[1] == 0
        assert made.hits() == hits


def test_process(made: Made) -> None:
    """In one process: this one, or another."""
    program = made("uprobe")
    mine = program.attach(LIBRARY, FUNCTION, pid=THIS_PROCESS)
    os.getloadavg()
    assert made.hits() == 1
    _in_child()
    assert made.hits() == 1
    mine.close()
    many = made.multi("uprobe.multi").attach(LIBRARY, [FUNCTION], pid=THIS_PROCESS)
    os.getloadavg()
    assert made.hits() == 2
    _in_child()
    assert made.hits() == 2
    many.close()
    program.attach(LIBRARY, FUNCTION)
    _in_child()
    assert made.hits() == 3


def _in_child() -> None:
    pid = os.fork()
    if not pid:
        os.getloadavg()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


def test_counter(made: Made, tmp_path: Path) -> None:
    """The number at `ref_ctr_offset` is 1 while the program is attached; also with many places."""
    source = """
    __attribute__((section(".counter"))) volatile unsigned short users = 0;
    int probed(void) { return users; }
    int main(void) { return probed(); }
    """
    path = compile_c(source, tmp_path / "program", "-no-pie")
    with ElfFile(path) as elf:
        section = elf.section(".counter")
        offset = elf.function_offset("probed")
    assert section is not None

    def users() -> int:
        return os.waitstatus_to_exitcode(os.waitpid(os.posix_spawn(path, ["program"], {}), 0)[1])

    assert users() == 0
    one = made("uprobe").attach(path, "probed", ref_ctr_offset=section.offset)
    assert users() == 1
    one.close()
    assert users() == 0
    many = made.multi("uprobe.multi").attach(path, [offset], ref_ctr_offsets=[section.offset])
    assert users() == 1
    many.close()
    assert users() == 0


def test_many_functions(made: Made) -> None:
    """Hundreds of functions, by one link; those that begin at one place are one."""
    with ElfFile(find_binary(LIBRARY)) as elf:
        places = elf.functions(lambda name: name.startswith("get"))
    assert len(places) > 50
    # What probes many functions of the C library is best kept to a process that runs nothing else.
    pid = os.fork()
    if not pid:
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(0)
    try:
        os.waitpid(pid, os.WUNTRACED)
        link = made.multi("uprobe.multi").attach(LIBRARY, "get*", pid=pid)
        shown = Path(f"/proc/self/fdinfo/{link.fileno()}").read_text()
        offsets = [int(line.split()[1], 16) for line in shown.splitlines() if "0x" in line]
        if offsets:  # Linux 6.17
            assert offsets == [place.offset for place in places]
        link.close()
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_refused(made: Made) -> None:
    script = "/usr/bin/ldd"
    for section, arguments, error, said in (
        ("uprobe", (), UsageError, "has no attach target: expected BINARY:FUNCTION"),
        ("uprobe/sh", (), UsageError, "'sh' is not an attach target"),
        ("uprobe", (LIBRARY,), UsageError, "no attach target in the binary"),
        ("uprobe", (None, FUNCTION), UsageError, "'symbol' and 'offset' need 'binary'"),
        ("uretprobe", (LIBRARY, FUNCTION, 4), UsageError, "a return probe takes no offset"),
        ("uprobe", (LIBRARY, "getloadavk"), NotFound, "(similar: getloadavg"),
        ("uprobe", ("no-such-program", "main"), NotFound, "no program 'no-such-program'"),
        ("uprobe", ("/nowhere/to/be", "", 8), NotFound, "/nowhere/to/be: no such file"),
        ("uprobe", ("/nowhere/to/be", "main"), NotFound, "no file '/nowhere/to/be'"),
        ("uprobe", (script, "main"), BadInput, "it is a script: use its interpreter"),
        ("uprobe", (LIBRARY, "", 1 << 40), KernelError, "EINVAL"),
    ):
        with pytest.raises(error, match=re.escape(said)):
            made(section).attach(*arguments)
    with pytest.raises(KernelError, match=r"ESRCH.*\(no such process\)"):
        made("uprobe").attach(LIBRARY, FUNCTION, pid=(1 << 22) - 1)
    with pytest.raises(LskelError, match="ref_ctr_offset 0x100000000 is too large"):
        made("uprobe").attach(LIBRARY, FUNCTION, ref_ctr_offset=1 << 32)
    assert made.links == []


def test_many_refused(made: Made) -> None:
    names = [FUNCTION, "setdomainname"]
    for section, arguments, options, error, said in (
        (
            "uprobe.multi",
            (),
            {},
            UsageError,
            "has no attach target: expected functions",
        ),
        ("uprobe.multi/sh", (), {}, UsageError, "no attach target"),
        ("uprobe.multi", (LIBRARY,), {}, UsageError, "no attach target"),
        ("uprobe.multi", (None, "m*"), {}, UsageError, "'places' needs 'binary'"),
        ("uprobe.multi", (LIBRARY, "none_such*"), {}, NotFound, "no function 'none_such*'"),
        ("uprobe.multi", (LIBRARY, "getload[a]vg"), {}, NotFound, "no function 'getload[a]vg'"),
        ("uprobe.multi", (LIBRARY, [FUNCTION, 4]), {}, UsageError, "all names or all offsets"),
        ("uprobe.multi", (LIBRARY, names), {"cookies": [1]}, UsageError, "1 cookies for"),
        (
            "uprobe.multi",
            (LIBRARY, "g*"),
            {"cookies": [1]},
            UsageError,
            "need a sequence of places",
        ),
        ("uprobe.multi", (LIBRARY, [1 << 40]), {}, KernelError, "EINVAL"),
        ("uprobe.multi", ("/nowhere/to/be", [8]), {}, KernelError, "ENOENT"),
        ("uprobe.multi", (LIBRARY, names), {"pid": (1 << 22) - 1}, KernelError, "ESRCH"),
    ):
        with pytest.raises(error, match=re.escape(said)):
            made.multi(section).attach(*arguments, **options)
    with pytest.raises(UsageError, match="no offsets"):
        attach_uprobe_multi(made.multi("uprobe.multi").fileno(), LIBRARY, [])
    assert made.links == []


def test_old_way(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """As before Linux 5.15: the event itself holds the program, and takes no cookie."""

    def refuse(*_: object, **__: object) -> Fd:
        raise BpfError(Cmd.LINK_CREATE, errno.EINVAL)

    monkeypatch.setattr(perf_link, "link_create", refuse)
    program = made("uretprobe/libc.so.6:getloadavg")
    link = program.attach()
    os.getloadavg()
    assert made.hits() == 1
    link.close()
    os.getloadavg()
    assert made.hits() == 1
    with pytest.raises(LskelError, match=r"5\.15"):
        program.attach(cookie=5)
