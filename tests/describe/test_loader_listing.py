"""Listings of loaders: each instruction is about what the generator meant it to be about."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from lskel.bpf import insn as i
from lskel.bpf.asm import Assembler
from lskel.bpf.insn import Insn, Pseudo
from lskel.bpf.layouts import MAP_CREATE
from lskel.cursor import ByteOrder
from lskel.describe.listing import Listing
from lskel.describe.loader_listing import loader_listing
from lskel.describe.places import Area, Place, Touch, touches
from lskel.describe.regions import contents
from lskel.loader import context
from lskel.loader.blob import RegionKind
from lskel.loader.bundle import dump
from lskel.loader.generate import generate
from lskel.loader.model import Loader
from lskel.object.model import Object
from lskel.object.open import open_object
from lskel.trace import BtfFind, KsymFind, MapCreate, ProgLoad
from tests.btf.samples import ORDERS
from tests.build.clang import compile_bpf, example
from tests.describe.samples import ASKING, EXAMPLE_OBJECTS, asking, loadable


def loader(*, big_endian: bool = False) -> Loader:
    return generate(loadable(big_endian=big_endian))


def sections(item: Listing) -> dict[int, list[str]]:
    """The notes by operation."""
    found: dict[int, list[str]] = {}
    current = -1
    for row in item.rows:
        if row.label:
            current = int(re.match(r"op (\d+): ", row.label)[1])  # type: ignore[index]
        found.setdefault(current, []).append(row.note)
    return found


def test_every_operation_begins_once_and_in_order() -> None:
    made = loader()
    labels = [row.label for row in loader_listing(made).rows if row.label]
    assert [label.split()[1] for label in labels] == [f"{n}:" for n in range(len(made.trace.ops))]
    assert [label.split()[2] for label in labels] == [type(op).__name__ for op in made.trace.ops]
    assert "op 0: BtfLoad" in labels and f"op {len(labels) - 1}: Close BtfLoad" in labels
    assert any(label.endswith(": MapCreate 'first'") for label in labels)
    assert any(label.endswith(": MapFreeze 'sample.rodata'") for label in labels)


def test_each_operation_touches_its_own_attr() -> None:
    made = loader()
    for number, notes in sections(loader_listing(made)).items():
        attrs = {int(m[1]) for note in notes if (m := re.search(r"attr of op (\d+)", note))}
        assert attrs <= {number}


def test_fields_are_where_the_kernel_has_them() -> None:
    made = loader()
    offsets = {region.op: region.offset for region in made.regions if region.kind.value == "attr"}
    item = sections(loader_listing(made))
    for number, op in enumerate(made.trace.ops):
        if isinstance(op, MapCreate) and op.slot is not None:
            offset = offsets[number] + MAP_CREATE["max_entries"][0]
            assert f"blob+{offset} (attr of op {number}: max_entries)" in item[number]
            offset = context.max_entries(op.slot)
            assert f"ctx+{offset} (maps[{op.slot}].max_entries)" in item[number]


def test_results_go_to_the_context() -> None:
    made = loader()
    notes = [row.note for row in loader_listing(made).rows]
    for slot in range(len(made.trace.maps)):
        assert f"ctx+{context.map_fd(slot)} (maps[{slot}].map_fd)" in notes
    offset = context.program_fd(len(made.trace.maps), 0)
    assert f"ctx+{offset} (progs[0].prog_fd)" in notes


def test_first_operation() -> None:
    made = generate(open_object(example("execsnoop")))
    region = {r.field or r.kind.value: r.offset for r in made.regions if r.op == 0}
    data, attr, fd = region["btf"], region["attr"], region["fds"]
    notes = sections(loader_listing(made))[0]
    before = [note for note in sections(loader_listing(made))[-1] if note]
    assert before[:9] == [
        "ctx+0",
        "blob+0 (fd_array)",
        "ctx+8 (log_level)",
        "ctx+8 (log_level)",
        f"blob+{attr + 24} (attr of op 0: btf_log_level)",
        "ctx+12 (log_size)",
        f"blob+{attr + 20} (attr of op 0: btf_log_size)",
        "ctx+16 (log_buf)",
        f"blob+{attr + 8} (attr of op 0: btf_log_buf)",
    ]
    assert [note for note in notes if note][:4] == [
        f"blob+{data} (btf of op 0)",
        f"blob+{attr} (attr of op 0: btf)",
        f"blob+{attr} (attr of op 0)",
        f"blob+{fd} (fd of op 0)",
    ]


def cells(made: Loader, number: int) -> dict[str, int]:
    """Where the loader keeps what an operation made and found, by the regions' fields."""
    kinds = (RegionKind.FDS, RegionKind.FOUND)
    kept = (region for region in made.regions if region.kind in kinds)
    return {region.field: region.offset for region in kept if region.op == number}


def test_attach_target() -> None:
    made = generate(open_object(example("execsnoop")))
    (find,) = (n for n, op in enumerate(made.trace.ops) if isinstance(op, BtfFind))
    at = cells(made, find)
    assert sections(loader_listing(made))[find][-3:] == [
        f"blob+{at['BTF id']} (BTF id of op {find})",
        "",
        f"blob+{at['']} (fd of op {find})",
    ]


def finds(made: Loader) -> dict[str, int]:
    """The operations that find something, by its name."""
    found = enumerate(made.trace.ops)
    return {op.name: number for number, op in found if isinstance(op, BtfFind | KsymFind)}


def test_what_externs_find_goes_to_their_cells() -> None:
    made = generate(asking())
    notes, found = sections(loader_listing(made)), finds(made)
    assert len(found) == 5
    number = found["bpf_task_release"]
    at = cells(made, number)["BTF id"]
    assert [note for note in notes[number] if note][-3:] == [
        f"blob+{at} (BTF id of op {number})",
        f"blob+{4 * 65} (fd_array[65], BTF of a kfunc)",
        f"blob+{at + 4} (fd_array index of op {number})",
    ]
    number = found["bpf_prog_active"]
    at = cells(made, number)["address"]
    assert [note for note in notes[number] if note][-1] == f"blob+{at} (address of op {number})"


def fields_of_externs(made: Loader, op: ProgLoad) -> set[tuple[int, str]]:
    """(instruction, field) of all that is known on the target only."""
    found = set()
    for insn, ref in op.externs:
        find = made.trace.ops[ref.op]
        if i.read(op.insns, insn, made.trace.order).op == i.OP_CALL:
            found |= {(insn, "imm"), (insn, "offset")}
        else:
            found |= {(insn, "imm"), (insn + 1, "imm")}
            if isinstance(find, BtfFind) and find.is_weak:
                found.add((insn, "registers"))
    return found


def test_instructions_are_filled_in() -> None:
    made = generate(asking())
    notes = sections(loader_listing(made))
    for number, op in enumerate(made.trace.ops):
        if isinstance(op, ProgLoad):
            stored = re.findall(
                rf"insns of op {number}: insn (\d+) (\w+)\)", "\n".join(notes[number])
            )
            assert {(int(insn), field) for insn, field in stored} == fields_of_externs(made, op)


def test_inputs_are_read() -> None:
    made = generate(asking())
    (load,) = (
        number
        for number, op in enumerate(made.trace.ops)
        if isinstance(op, ProgLoad) and op.attach_fd is not None
    )
    assert {note for note in sections(loader_listing(made))[load] if "inputs" in note} == {
        f"ctx+{made.context_size - 8} (inputs[0]: BTF id of what program 'replacing' attaches to)",
        f"ctx+{made.context_size - 4} (inputs[1]: fd of what program 'replacing' attaches to)",
    }


def test_slots_past_the_reserved_ones() -> None:
    calls = "".join(f"kfunc{n}();" for n in range(258))
    externs = "".join(f"extern void kfunc{n}(void) __ksym;\n" for n in range(258))
    source = f'{externs} SEC("raw_tp/sys_enter") int p(void *c) {{ {calls} return 0; }}'
    made = generate(open_object(compile_bpf(source)))
    notes = sections(loader_listing(made))
    for name, number in finds(made).items():
        (slot,) = {*map(int, re.findall(r"fd_array\[(\d+)\], BTF", "\n".join(notes[number])))}
        nth = int(name.removeprefix("kfunc"))
        if nth < 256:
            assert slot == 64 + nth
        else:
            (more,) = (r for r in made.regions if r.field == "more slots")
            assert slot == more.offset // 4 + nth - 256


def test_messages_of_debug() -> None:
    made = generate(loadable(), debug=True)
    notes = [row.note for row in loader_listing(made).rows]
    assert sum("(message)" in note for note in notes) == len(made.trace.ops)
    assert contents(made)["messages"] > 0


def test_shared_data_belong_to_each_operation() -> None:
    made = generate(loadable().with_program("optional", autoload=True))
    loads = [n for n, op in enumerate(made.trace.ops) if isinstance(op, ProgLoad)]
    notes = sections(loader_listing(made))
    licenses = [
        next(note for note in notes[number] if f"(license of op {number})" in note)
        for number in loads
    ]
    assert len(loads) == 2
    assert len({note.split()[0] for note in licenses}) == 1


def test_contents_byte_by_byte() -> None:
    made = generate(loadable().with_program("optional", autoload=True))
    bytes_ = ["padding"] * len(made.blob)
    for region in made.regions:
        for at in range(region.offset, region.offset + region.size):
            bytes_[at] = region.field if region.kind is RegionKind.DATA else region.kind.value
    kinds = {"key": "values", "value": "values", "license": "names", "name": "names"}
    assert contents(made) == Counter(kinds.get(kind, kind) for kind in bytes_)
    first, *_, last = contents(made)
    assert (first, last) == ("fd_array", "padding")


@pytest.mark.parametrize(
    "source", [*EXAMPLE_OBJECTS, ASKING], ids=[*(path.stem for path in EXAMPLE_OBJECTS), "asking"]
)
def test_everything_in_the_blob_is_touched(source: str | Path) -> None:
    made = generate(open_object(compile_bpf(source) if isinstance(source, str) else source))
    notes = "\n".join(row.note for row in loader_listing(made).rows)
    for region in made.regions:
        assert f"blob+{region.offset} (" in notes, region
    assert "padding" not in notes
    assert sum(contents(made).values()) == len(made.blob)


@pytest.mark.parametrize("sample", [loadable, asking])
def test_byte_orders_and_bundles(sample: Callable[..., Object]) -> None:
    little, big = generate(sample()), generate(sample(big_endian=True))
    rows = loader_listing(little).rows
    assert b"".join(row.raw for row in rows) == little.insns
    assert loader_listing(Loader.load(dump(little))) == loader_listing(little)
    # Registers are the other way round in what is stored for a weak symbol that is missing.
    assert [row[2:] for row in rows if "registers" not in row.note] == [
        row[2:] for row in loader_listing(big).rows if "registers" not in row.note
    ]


# -- places -----------------------------------------------------------------------------------


def code(order: ByteOrder) -> Assembler:
    asm = Assembler(order)
    asm.mov(6, 1)
    asm.map_value(8, 0, 16)
    return asm


def read(asm: Assembler) -> dict[int, Touch]:
    """Without the two that `code` begins with."""
    found = touches(asm.assemble(), asm.order)
    assert found.pop(0) == Touch(Place(Area.CONTEXT, 0), False)
    assert found.pop(1) == Touch(Place(Area.BLOB, 16), False)
    return {index - 3: touch for index, touch in found.items()}


def blob(offset: int) -> Place:
    return Place(Area.BLOB, offset)


@pytest.mark.parametrize("order", ORDERS)
def test_addresses_and_accesses(order: ByteOrder) -> None:
    asm = code(order)
    asm.mov(2, 8)
    asm.alu_imm(i.ADD, 2, 100)
    asm.store(4, 2, -8, 0)
    asm.load(8, 3, 6, 24)
    asm.store_imm(4, 8, 4, 1)
    asm.load(4, 3, 3, 0)
    asm.mov(4, 8)
    assert read(asm) == {
        1: Touch(blob(116), False),
        2: Touch(blob(108), True),
        3: Touch(Place(Area.CONTEXT, 24), True),
        4: Touch(blob(20), True),
        6: Touch(blob(16), False),
    }


@pytest.mark.parametrize(
    "insn",
    [
        Insn(i.ALU64 | i.ADD | i.X, 2, 3),
        Insn(i.ALU64 | i.MOV | i.K, 2, imm=5),
        Insn(i.ALU | i.MOV | i.X, 2, 8),
        Insn(i.ALU64 | i.MOV | i.X, 2, 8, off=32),
        Insn(i.LDX | i.MEM | i.DW, 2, 10),
        Insn(i.STX | i.ATOMIC | i.DW, 10, 2, imm=0xE1),
        Insn(i.OP_CALL, imm=1),
    ],
)
def test_what_is_overwritten_is_forgotten(insn: Insn) -> None:
    asm = code("little")
    asm.mov(2, 8)
    asm.emit(insn)
    asm.store(4, 2, 0, 1)
    assert 2 not in read(asm)


def test_what_is_not_overwritten_is_kept() -> None:
    asm = code("little")
    asm.mov(2, 8)
    asm.mov(0, 8)
    asm.emit(Insn(i.STX | i.ATOMIC | i.DW, 10, 2))
    asm.store(4, 2, 0, 1)
    asm.emit(Insn(i.STX | i.ATOMIC | i.DW, 10, 2, imm=0xF1))
    asm.store(4, 2, 0, 1)
    asm.store(4, 0, 0, 1)
    found = read(asm)
    assert found[3] == found[5] == Touch(blob(16), True)
    assert 6 not in found


def test_behind_a_label_only_what_is_assigned_once_is_known() -> None:
    asm = code("little")
    asm.mov(2, 8)
    asm.jump_if(i.JEQ, 0, 0, "label")
    asm.alu_imm(i.ADD, 2, 8)
    asm.label("label")
    asm.store(4, 2, 0, 1)
    asm.store(4, 8, 0, 1)
    found = read(asm)
    assert 3 not in found
    assert found[4] == Touch(blob(16), True)


def test_where_ways_meet_what_is_the_same_is_known() -> None:
    asm = code("little")
    asm.mov(2, 8)
    asm.alu_imm(i.ADD, 2, 4)
    asm.mov(3, 8)
    asm.jump_if(i.JEQ, 0, 0, "label")
    asm.alu_imm(i.ADD, 3, 8)
    asm.jump("end")
    asm.label("label")
    asm.alu_imm(i.ADD, 3, 16)
    asm.label("end")
    asm.store(4, 2, 0, 1)
    asm.store(4, 3, 0, 1)
    found = read(asm)
    assert found[6].place == blob(32)
    assert found[7] == Touch(blob(20), True)
    assert 8 not in found


def test_on_a_way_back_only_what_is_assigned_once_is_known() -> None:
    asm = code("little")
    asm.mov(2, 8)
    asm.label("label")
    asm.store(4, 2, 0, 1)
    asm.store(4, 8, 0, 1)
    asm.alu_imm(i.ADD, 2, 8)
    asm.jump_if(i.JEQ, 0, 0, "label")
    found = read(asm)
    assert 1 not in found
    assert found[2] == Touch(blob(16), True)


def test_behind_what_is_never_passed_nothing_is_known() -> None:
    asm = code("little")
    asm.exit()
    asm.store(4, 8, 0, 1)
    assert read(asm) == {}


def test_other_functions_know_nothing() -> None:
    asm = code("little")
    asm.emit(Insn(i.OP_LD_IMM64, 2, Pseudo.FUNC, imm=2))
    asm.emit(Insn(0))
    asm.exit()
    asm.store(4, 8, 0, 1)
    assert read(asm) == {}


def test_other_maps_are_not_the_blob() -> None:
    asm = code("little")
    asm.map_value(2, 1, 0)
    asm.store(4, 2, 0, 1)
    assert read(asm) == {}


def test_cut_off() -> None:
    assert touches(Insn(i.OP_LD_IMM64, 1, Pseudo.MAP_IDX_VALUE).encode("little"), "little") == {}
    assert touches(b"", "little") == {}
