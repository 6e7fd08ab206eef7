"""Jump tables: from the ELF file to the operations, the code and its listing."""

from __future__ import annotations

import platform
import re
import struct
from pathlib import Path

import pytest

import lskel
from lskel.bpf import insn as i
from lskel.bpf.enums import MapType
from lskel.bpf.insn import Pseudo
from lskel.describe.listing import listing
from lskel.elf.object import Elf
from lskel.errors import BadObject, ReplayError
from lskel.load_phase.sends import sends
from lskel.loader.bundle import load as load_bundle
from lskel.loader.model import Form
from lskel.replay.simulator.run import run
from lskel.trace import Close, MapCreate, MapFreeze, MapUpdate, ProgLoad
from tests.attach.cases.case import version
from tests.build.clang import compile_bpf
from tests.build.jump_tables import CLANG, PROGRAMS, object_with_tables
from tests.loads import Load, both

TABLE = """
SEC("{section}") int count(void *ctx)
{{
    __asm__ volatile(".pushsection .jumptables,\\"\\",@progbits\\n"
                     ".globl table\\ntable: .quad {entries}\\n.size table, {size}\\n.popsection\\n"
                     "r1 = table + {addend} ll" ::: "r1");
    return 0;
}}
"""


def opened(
    entries: str = "0", size: int = 8, addend: int = 0, section: str = "socket"
) -> lskel.Object:
    source = TABLE.format(entries=entries, size=size, addend=addend, section=section)
    return lskel.open_object(compile_bpf(source), "tables")


@pytest.mark.parametrize("big_endian", [False, True])
def test_entries_are_instructions_of_the_program(big_endian: bool) -> None:
    """Tables of subprograms count from the start of the program, which has a copy of them."""
    raw = object_with_tables(big_endian=big_endian)
    elf = Elf(raw)
    section = elf.section(".jumptables")
    assert section is not None
    content = elf.content(section)
    word = struct.Struct("<Q" if elf.order == "little" else ">Q")
    starts = {
        symbol.name: symbol.value for symbol in elf.symbols if symbol.name in ("helped", "other")
    }
    trace = lskel.open_object(raw, "tables").trace()
    for slot, program in enumerate(trace.programs):
        load = trace.prog_load(slot)
        assert load is not None
        tables = [trace.ops[extern.find.op] for extern in load.externs]
        assert len(tables) == len(set(PROGRAMS[program.name]))
        for extern in load.externs:
            targets = trace.jump_table(extern.find.op)
            assert len(targets) > 20
            # No target is the second half of an instruction.
            assert all(load.insns[i.SIZE * target] for target in targets)
            insn = i.read(load.insns, extern.insn, trace.order)
            assert (insn.src, insn.imm) == (Pseudo.MAP_VALUE, 0)
    # `helped` begins its section, so that its table is what the file has.
    (helped,) = trace.prog_load(0).externs  # type: ignore[union-attr]
    assert starts["helped"] == 0
    offsets = [target * i.SIZE for target in trace.jump_table(helped.find.op)]
    assert b"".join(map(word.pack, offsets)) in content


def test_operations() -> None:
    """A map for each table of each program: filled, frozen, used, and closed."""
    trace = lskel.open_object(object_with_tables(), "tables").trace()
    kinds = (MapCreate, MapUpdate, MapFreeze, ProgLoad, Close)
    for slot, program in enumerate(trace.programs):
        assert program.op is not None
        load = trace.prog_load(slot)
        assert load is not None
        own = [
            n
            for n, guard in trace.guards.items()
            if guard.slot == slot and guard.subject.value == "program"
        ]
        ops = [trace.ops[number] for number in own]
        assert [type(op) for op in ops if isinstance(op, ProgLoad | Close)] == [
            ProgLoad,
            *[Close] * len(load.externs),
        ]
        assert {type(op) for op in ops} == set(kinds)
        for extern in load.externs:
            create = trace.ops[extern.find.op]
            assert isinstance(create, MapCreate)
            assert (create.type, create.slot, create.value_size) == (MapType.INSN_ARRAY, None, 16)
            assert create.max_entries == len(trace.jump_table(extern.find.op))
    assert [made.name for made in trace.maps] == ["tables.bss"]


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("big_endian", [False, True])
def test_loaders_in_the_simulator(form: Form, big_endian: bool, tmp_path: Path) -> None:
    raw = object_with_tables(big_endian=big_endian)
    loader = lskel.generate(lskel.open_object(raw, "tables"), form)
    assert run(loader).value == 0
    loader.save(tmp_path / "tables.lskel")
    assert load_bundle(tmp_path / "tables.lskel") == loader


def test_listing() -> None:
    obj = lskel.open_object(object_with_tables(), "tables")
    for source in (obj, obj.trace(), lskel.generate(obj)):
        (helped,) = listing(source, ["helped"])
        rows = {row.text: row for row in helped.rows}
        load = next(row for text, row in rows.items() if ".jumptables" in text)
        count, targets = re.fullmatch(r"(\d+) entries: ([\d ]+) \.\.\.", load.note).groups()  # type: ignore[union-attr]
        assert int(count) > len(targets.split()) == 32
        assert load.marks[0].name == ".jumptables"
        assert any(text.startswith("gotox r") for text in rows)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"size": 0}, r"0x0\+0x0 of .jumptables is not a table of 8-byte entries \(in assembly"),
        ({"size": 12}, r"0x0\+0xc of .jumptables is not a table"),
        ({"size": 16}, r"0x0\+0x10 is outside the 0x8 bytes of .jumptables"),
        ({"addend": 8}, "no entry at 0x8 of a jump table of 0x8 bytes"),
        ({"addend": 4}, "no entry at 0x4 of a jump table"),
        ({"entries": "12"}, "the entry 0xc of .jumptables is not an instruction"),
    ],
)
def test_broken_tables(changed: dict[str, object], said: str) -> None:
    where = r"section socket: relocation at 0x0 against 'table': "
    with pytest.raises(BadObject, match=where + said):
        opened(**changed)  # type: ignore[arg-type]


def test_entries_that_no_kernel_can_hold() -> None:
    """They concern their program only."""
    obj = opened(entries="0x800000000", section="?socket")
    assert obj.trace().programs[0].op is None
    with pytest.raises(BadObject, match=r"'count': its jump table at 0x0 of \.jump.* jumps out"):
        obj.with_program("count", autoload=True).trace()


@both
@pytest.mark.kernel
def test_kernels_without_jump_tables(load: Load) -> None:
    """Generating works, loading says what to do."""
    if version(platform.release()) >= (6, 19):
        pytest.skip("this kernel has jump tables")
    says = "jump table of 1 entries: EINVAL.*compile with -fno-jump-tables, or with -mcpu=v3"
    with pytest.raises(ReplayError, match=says):
        load(lskel.generate(opened()))


SENDING = (
    'struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } a SEC(".maps");\n'
    'struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } b SEC(".maps");\n'
    'SEC("socket") int send(struct __sk_buff *ctx)\n{ long x[4] = {}; switch (ctx->len) {\n'
    + "".join(
        f"case {n}: x[0] = ctx->mark + {n * n};"
        f" return bpf_ringbuf_output(&a, x, {8 * (1 + n % 4)}, 0) + {n % 7};\n"
        for n in range(24)
    )
    + "} return 0; }"
)


def test_events_that_are_sent_after_a_jump_by_a_table() -> None:
    """It is known to which buffer: code that nothing is known of may send to any."""
    sent = list(sends(lskel.open_object(compile_bpf(SENDING, "-mcpu=v4", clang=CLANG), "sending")))
    assert len(sent) > 2
    assert {send.map for send in sent} == {0}
