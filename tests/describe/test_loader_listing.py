"""Listings of loaders: each instruction is about what the generator meant it to be about."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lskel.bpf import context
from lskel.bpf import insn as i
from lskel.bpf.layouts import MAP_CREATE
from lskel.describe.listing import Listing, Row
from lskel.describe.loader_listing import loader_listing
from lskel.describe.regions import contents
from lskel.loader import records
from lskel.loader.blob import RegionKind
from lskel.loader.bundle import dump
from lskel.loader.generate import generate
from lskel.loader.model import Form, Loader
from lskel.loader.records import Code
from lskel.object.model import Object
from lskel.object.open import open_object
from lskel.trace import BtfFind, Close, KsymFind, MapCreate, ProgLoad
from tests.build.clang import compile_bpf, example
from tests.describe.samples import ASKING, EXAMPLE_OBJECTS, asking, loadable

SAMPLES = {path.stem: path for path in EXAMPLE_OBJECTS} | {"asking": ASKING}
LOG_FIELDS = "all ops: log fields"


def unrolled(obj: Object, *, debug: bool = False) -> Loader:
    return generate(obj, Form.UNROLLED, debug=debug)


def table(obj: Object, *, debug: bool = False) -> Loader:
    return generate(obj, Form.TABLE, debug=debug)


def sample(source: str | Path) -> Object:
    return open_object(compile_bpf(source) if isinstance(source, str) else source)


def by_label(item: Listing) -> dict[str, list[Row]]:
    """The rows by what they stand below."""
    found: dict[str, list[Row]] = {}
    current = ""
    for row in item.rows:
        current = row.label or current
        found.setdefault(current, []).append(row)
    return found


def sections(item: Listing) -> dict[int | str, list[str]]:
    """The notes by operation, or by what else they stand below."""
    return {
        int(match[1]) if (match := re.match(r"op (\d+): ", label)) else label: [
            row.note for row in rows
        ]
        for label, rows in by_label(item).items()
    }


# -- unrolled ---------------------------------------------------------------------------------


def test_every_operation_begins_once_and_in_order() -> None:
    made = unrolled(loadable())
    first, *labels, hand_over, failure = (
        row.label for row in loader_listing(made).rows if row.label
    )
    assert (first, hand_over, failure) == (LOG_FIELDS, "hand over", "failure")
    assert [label.split()[1] for label in labels] == [f"{n}:" for n in range(len(made.trace.ops))]
    assert [label.split()[2] for label in labels] == [type(op).__name__ for op in made.trace.ops]
    assert "op 0: BtfLoad" in labels and f"op {len(labels) - 1}: Close BtfLoad" in labels
    assert any(label.endswith(": MapCreate 'first'") for label in labels)
    assert any(label.endswith(": MapFreeze 'sample.rodata'") for label in labels)


def test_where_no_call_writes_a_log_nothing_is_for_all() -> None:
    trace = open_object(example("hello")).trace()
    create = replace(trace.map_create(0), btf=None, btf_is_optional=False)
    maps = (trace.maps[0]._replace(op=0),)
    alone = replace(trace, ops=(create,), maps=maps, programs=(), guards={})
    assert loader_listing(generate(alone, Form.UNROLLED)).rows[2].label.startswith("op 0: ")


def test_each_operation_touches_its_own_attr() -> None:
    """But for log fields, and what speaks of BTF where there is none."""
    made = unrolled(asking())
    assert made.trace.btf is not None
    found = sections(loader_listing(made))
    log = "\n".join(found.pop(LOG_FIELDS))
    for number, op in enumerate(made.trace.ops):
        attrs = {int(n) for n in re.findall(r"attr of op (\d+)", "\n".join(found[number]))}
        assert attrs <= {number}
        assert bool(attrs) == (not isinstance(op, BtfFind | KsymFind | Close))
        is_logged = type(op).__name__ in ("BtfLoad", "ProgLoad")
        fields = re.findall(rf"attr of op {number}: \w*(log_\w+( [+]4)?)", log)
        expected = ["log_level", "log_size", "log_buf", "log_buf +4"] if is_logged else []
        assert [field for field, _ in fields] == expected
    assert not re.search("attr", "\n".join([*found["hand over"], *found["failure"]]))


def test_without_btf_what_speaks_of_it_is_zero() -> None:
    made = unrolled(open_object(example("hello")))
    rows = by_label(loader_listing(made))["op 0: BtfLoad"]
    zeros = [row.note for row in rows if row.text.endswith("= 0") and "attr" in row.note]
    assert [re.sub(r".*attr of ", "", note)[:-1] for note in zeros] == [
        "op 1: btf_fd",
        "op 1: btf_key_type_id",
        "op 1: btf_value_type_id",
        "op 3: func_info_cnt",
        "op 3: line_info_cnt",
    ]


def test_fields_are_where_the_kernel_has_them() -> None:
    made = unrolled(loadable())
    offsets = {region.op: region.offset for region in made.regions if region.kind.value == "attr"}
    item = sections(loader_listing(made))
    for number, op in enumerate(made.trace.ops):
        if isinstance(op, MapCreate) and op.slot is not None:
            offset = offsets[number] + MAP_CREATE["max_entries"][0]
            assert f"blob+{offset} (attr of op {number}: max_entries)" in item[number]
            offset = context.max_entries(op.slot)
            assert f"ctx+{offset} (maps[{op.slot}].max_entries)" in item[number]


@pytest.mark.parametrize("form", Form)
def test_results_go_to_the_context(form: Form) -> None:
    made = generate(loadable(), form)
    notes = sections(loader_listing(made))["hand over"]
    for slot in range(len(made.trace.maps)):
        assert f"ctx+{context.map_fd(slot)} (maps[{slot}].map_fd)" in notes
    offset = context.program_fd(len(made.trace.maps), 0)
    assert f"ctx+{offset} (progs[0].prog_fd)" in notes
    assert notes[0].startswith("blob+0 (fd_array[0], ")


def test_first_operation() -> None:
    made = unrolled(open_object(example("execsnoop")))
    region = {r.field or r.kind.value: r.offset for r in made.regions if r.op == 0}
    data, attr, fd = region["btf"], region["attr"], region["fds"]
    found = sections(loader_listing(made))
    assert [note for note in found[""] if note] == ["ctx+0", "blob+0 (fd_array)"]
    assert [note for note in found[LOG_FIELDS] if note][:9] == [
        "ctx+8 (log_level)",
        "ctx+8 (log_level)",
        f"blob+{attr + 24} (attr of op 0: btf_log_level)",
        "ctx+12 (log_size)",
        f"blob+{attr + 20} (attr of op 0: btf_log_size)",
        "ctx+16 (log_buf)",
        f"blob+{attr + 8} (attr of op 0: btf_log_buf)",
        "ctx+20 (log_buf +4)",
        f"blob+{attr + 12} (attr of op 0: btf_log_buf +4)",
    ]
    assert [note for note in found[0] if note][:5] == [
        f"blob+{made.status} (op under way)",
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
    made = unrolled(open_object(example("execsnoop")))
    (find,) = (n for n, op in enumerate(made.trace.ops) if isinstance(op, BtfFind))
    at = cells(made, find)
    assert sections(loader_listing(made))[find][-1] == f"blob+{at['BTF id']} (BTF id of op {find})"
    assert at[""] == at["BTF id"] + 4


def finds(made: Loader) -> dict[str, int]:
    """The operations that find something, by its name."""
    found = enumerate(made.trace.ops)
    return {op.name: number for number, op in found if isinstance(op, BtfFind | KsymFind)}


def test_what_externs_find_goes_to_their_cells() -> None:
    made = unrolled(asking())
    notes, found = sections(loader_listing(made)), finds(made)
    assert len(found) == 5
    number = found["bpf_task_release"]
    at = cells(made, number)
    assert [note for note in notes[number] if note][-5:] == [
        f"blob+{at['BTF id']} (BTF id of op {number})",
        f"blob+{at['']} (fd of op {number})",
        f"blob+{4 * 65} (fd_array[65], BTF of a kfunc)",
        f"blob+{at['']} (fd of op {number})",
        f"blob+{at['call']} (call of op {number})",
    ]
    number = found["bpf_prog_active"]
    at = cells(made, number)
    assert [note for note in notes[number] if note][-1] == (
        f"blob+{at['address']} (address of op {number})"
    )
    (load,) = (n for n, op in enumerate(made.trace.ops) if getattr(op, "name", "") == "variables")
    assert f"blob+{at['address'] + 4} (address of op {number} +4)" in notes[load]


def fields_of_externs(made: Loader, op: ProgLoad) -> set[tuple[int, str]]:
    """(instruction, field) of all that is known on the target only: "" for its first half."""
    found = set()
    for insn, ref, _ in op.externs:
        find = made.trace.ops[ref.op]
        if i.read(op.insns, insn, made.trace.order).op == i.OP_CALL:
            found |= {(insn, "imm"), (insn, "")}
        else:
            found |= {(insn, "imm"), (insn + 1, "imm")}
            if isinstance(find, BtfFind) and find.is_weak:
                found.add((insn, ""))
    return found


def test_instructions_are_filled_in() -> None:
    made = unrolled(asking())
    notes = sections(loader_listing(made))
    for number, op in enumerate(made.trace.ops):
        if isinstance(op, ProgLoad):
            stored = re.findall(
                rf"insns of op {number}: insn (\d+) ?(\w*)\)", "\n".join(notes[number])
            )
            assert {(int(insn), field) for insn, field in stored} == fields_of_externs(made, op)


def test_inputs_are_read() -> None:
    made = unrolled(asking())
    (load,) = (
        number
        for number, op in enumerate(made.trace.ops)
        if isinstance(op, ProgLoad) and op.attach_fd is not None
    )
    target = "the attach target of program 'replacing'"
    assert {note for note in sections(loader_listing(made))[load] if "inputs" in note} == {
        f"ctx+{made.context_size - 8} (inputs[4]: BTF id of {target})",
        f"ctx+{made.context_size - 4} (inputs[5]: fd of {target})",
    }


@pytest.mark.parametrize("form", Form)
def test_slots_of_many_kfuncs(form: Form) -> None:
    """The unrolled form reserves 256; in the table form they follow the maps' slots."""
    calls = "".join(f"kfunc{n}();" for n in range(258))
    externs = "".join(f"extern void kfunc{n}(void) __ksym;\n" for n in range(258))
    source = f'{externs} SEC("raw_tp/sys_enter") int p(void *c) {{ {calls} return 0; }}'
    made = generate(open_object(compile_bpf(source)), form)
    more = [r.offset // 4 for r in made.regions if r.field == "more slots"]
    rows = by_label(loader_listing(made))
    assert len(finds(made)) == 258 and bool(more) == (form is Form.UNROLLED)
    for name, number in finds(made).items():
        (label,) = (label for label in rows if f"op {number}: " in label)
        text = "\n".join(f"{row.text} {row.note}" for row in rows[label])
        (slot,) = {*map(int, re.findall(r"fd_array\[(\d+)\], BTF", text))}
        nth = int(name.removeprefix("kfunc"))
        if form is Form.TABLE:
            assert slot == 1 + nth
        else:
            assert slot == (64 + nth if nth < 256 else more[0] + nth - 256)


@pytest.mark.parametrize("form", Form)
def test_messages_of_debug(form: Form) -> None:
    made = generate(loadable(), form, debug=True)
    notes = [row.note for row in loader_listing(made).rows]
    calls = sum(not isinstance(op, Close) for op in made.trace.ops)
    # The walker has one each for calls and types; no symbols are looked up here.
    assert sum("(message)" in note for note in notes) == (2 if form is Form.TABLE else calls)
    assert contents(made)["messages"] > 0


def test_shared_data_belong_to_each_operation() -> None:
    made = unrolled(loadable().with_program("optional", autoload=True))
    loads = [n for n, op in enumerate(made.trace.ops) if isinstance(op, ProgLoad)]
    notes = sections(loader_listing(made))
    licenses = [
        next(note for note in notes[number] if f"(license of op {number})" in note)
        for number in loads
    ]
    assert len(loads) == 2
    assert len({note.split()[0] for note in licenses}) == 1


@pytest.mark.parametrize("name", SAMPLES)
def test_everything_in_the_blob_is_touched(name: str) -> None:
    made = unrolled(sample(SAMPLES[name]))
    notes = "\n".join(row.note for row in loader_listing(made).rows)
    for region in made.regions:
        assert f"blob+{region.offset} (" in notes, region
    assert "padding" not in notes


# -- both forms -------------------------------------------------------------------------------


@pytest.mark.parametrize("form", Form)
def test_contents_byte_by_byte(form: Form) -> None:
    made = generate(loadable().with_program("optional", autoload=True), form)
    bytes_ = ["padding"] * len(made.blob)
    for region in made.regions:
        for at in range(region.offset, region.offset + region.size):
            bytes_[at] = region.field if region.kind is RegionKind.DATA else region.kind.value
    kinds = {"key": "values", "value": "values", "license": "names", "name": "names"}
    assert contents(made) == Counter(kinds.get(kind, kind) for kind in bytes_)
    first, *_, last = contents(made)
    assert (first, last) == ("fd_array", "padding")
    assert sum(contents(made).values()) == len(made.blob)


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("make", [loadable, asking])
def test_byte_orders_and_bundles(make: Callable[..., Object], form: Form) -> None:
    little, big = generate(make(), form), generate(make(big_endian=True), form)
    rows = loader_listing(little).rows
    assert b"".join(row.raw for row in rows).startswith(little.insns)
    assert loader_listing(Loader.load(dump(little))) == loader_listing(little)
    # What differs: halves of instructions, and where those of numbers of 64 bits go.
    odd = re.compile(r"insns of op \d+: insn \d+|BTF id of|fd of|call of")
    others = loader_listing(big).rows
    assert len(rows) == len(others)
    for row, other in zip(rows, others, strict=True):
        if not odd.search(row.text + row.note):
            assert row[2:] == other[2:]
    for made in (rows, others):
        assert any("imm" in row.text + row.note for row in made) == (make is asking)


# -- table ------------------------------------------------------------------------------------


def texts(rows: list[Row]) -> list[str]:
    return [row.text for row in rows]


def notes_of(rows: list[Row]) -> list[str]:
    return [row.note for row in rows if row.note]


CALLS = {
    "main": ["probe_read_kernel", "loop"],
    "CALL": ["sys_bpf"],
    "FIND": ["btf_find_by_name_kind"],
    "KSYM": ["kallsyms_lookup_name"],
    "CLOSE": ["sys_close"],
    "VALUE": ["copy_from_user", "probe_read_kernel"],
}


@pytest.mark.parametrize("name", SAMPLES)
def test_functions_and_codes_have_labels(name: str) -> None:
    made = table(sample(SAMPLES[name]))
    found = by_label(loader_listing(made))
    labels = [label for label in found if "op" not in label.split() and "ops:" not in label]
    codes = [code for code in Code if code in codes_of(made)]
    assert Counter(labels) == Counter(
        ["main", "hand over", "walk", "bad record", "settle"] + [code.name for code in codes]
    )
    for label in labels:
        calls = re.findall(r"call bpf_(\w+)#", "\n".join(texts(found[label])))
        assert calls == CALLS.get(label, [])
    pointed = re.findall(r"subprog\[[+]\d+:'(\w+)'\]", "\n".join(texts(found["main"])))
    assert pointed == ["walk"]


def codes_of(made: Loader) -> set[int]:
    return {
        made.blob[place]
        for region in made.regions
        if region.kind is RegionKind.RECORDS
        for place in range(region.offset, region.offset + region.size, records.SIZE)
    }


def test_what_the_walker_touches() -> None:
    found = by_label(loader_listing(table(asking())))
    assert notes_of(found["COPY"]) == ["[b]", "[a]"]
    assert notes_of(found["SET"]) == ["[a]"]
    assert notes_of(found["POINT"]) == ["[a]"]
    assert notes_of(found["CALL"]) == ["blob + a", "records[i].c", "[b]"]
    assert notes_of(found["FIND"]) == ["records[i].c", "[b]"]
    assert notes_of(found["CLOSE"]) == ["[b]", "[b]"]
    assert notes_of(found["VALUE"])[0] == "[b]"
    assert notes_of(found["VALUE"])[1].endswith(" (context: flags)")
    said = [note.split()[1] for note in notes_of(found["SKIP_IF"])[1:]]
    assert said == ["(pc)", "(pc)"]
    said = [note.split()[1] for note in notes_of(found["settle"])]
    assert said == ["(error)", "(pc)", "(pc)"]
    fields = [note for note in notes_of(found["walk"]) if note.startswith("records[i].")]
    assert fields == [f"records[i].{name}" for name in ("a", "b", "size", "c", "arg", "code")]
    assert [note.split()[1] for note in notes_of(found["walk"]) if "blob+" in note] == [
        "(fd_array)",
        "(pc)",
        "(pc)",
    ]


def test_records_in_words() -> None:
    made = table(asking())
    found = by_label(loader_listing(made))
    number, at = finds(made), {getattr(o, "name", ""): n for n, o in enumerate(made.trace.ops)}
    known = {
        label.removeprefix("records of ").split(":")[0]: texts(found[label]) for label in found
    }
    acquire, weak = number["bpf_task_acquire"], number["bpf_task_release"]
    symbol, load = number["bpf_prog_active"], at["kfuncs"]
    call = int.from_bytes(b"\x85\x20\x05\x00", made.trace.order)
    assert known[f"op {weak}"] == [
        f"set op under way = {weak}",
        f"skip to {row_of(made, weak) + 6} if context: inputs[1]: whether the kernel has another "
        "type than: void bpf_task_release___v2(struct task *) is not 0",
        f"find func 'bpf_task_release' -> BTF id of op {weak}, fd of op {weak}; it may be missing",
        f"copy fd_array[5], BTF of a kfunc <- fd of op {weak}",
        f"skip to {row_of(made, weak) + 6} if fd of op {weak} is 0",
        f"set call of op {weak} = {call:#x}",
    ]
    assert known[f"op {symbol}"] == [
        f"set op under way = {symbol}",
        f"find symbol 'bpf_prog_active' -> address of op {symbol}",
    ]
    first, second = (reloc.insn for reloc in made.trace.prog_load(0).externs[:2])  # type: ignore[union-attr]
    insns = known[f"op {load}"].index(f"point attr of op {load}: insns to insns of op {load}")
    assert known[f"op {load}"][insns + 1 : insns + 7] == [
        f"copy insns of op {load}: insn {first} <- call of op {acquire}",
        f"copy insns of op {load}: insn {first} imm <- BTF id of op {acquire}",
        f"copy insns of op {load}: insn {second} imm <- BTF id of op {weak}",
        f"copy insns of op {load}: insn {second + 1} imm <- fd of op {weak}",
        f"skip to {row_of(made, load) + insns + 7} if BTF id of op {weak} is not 0",
        f"set insns of op {load}: insn {second} = {0x118}",
    ]
    assert known[f"op {load}"][-1] == (
        f"call BPF_PROG_LOAD, attr of op {load}, 148 bytes -> fd of op {load}"
    )
    last = len(made.trace.ops) - 1
    assert known[f"op {last}"] == [
        f"set op under way = {last}",
        f"skip to {row_of(made, last) + 3} if fd of op 0 is not positive",
        "close fd of op 0",
    ]
    create = at["shared"]
    text = known[f"op {create}"]
    assert text[1] == "copy fd_array[1], map 'shared' <- context: maps[1].map_fd"
    assert f"copy attr of op {create}: max_entries <- context: maps[1].max_entries" in text
    assert f"call BPF_MAP_CREATE, attr of op {create}, 80 bytes -> fd of op {create}" in text


def row_of(made: Loader, op: int) -> int:
    """The number of an operation's first record."""
    labels = by_label(loader_listing(made))
    return next(rows[0].insn for label, rows in labels.items() if f"of op {op}:" in label)


def test_skips_say_where_to() -> None:
    """Of an object that can do without BTF: to the next operation, or to the call without."""
    rows = [
        row for row in loader_listing(table(open_object(example("hello")))).rows if not row.note
    ]
    start = next(n for n, row in enumerate(rows) if row.label == f"records of {LOG_FIELDS}")
    listed = rows[start:]
    assert [row.insn for row in listed] == list(range(len(listed)))
    begins = {
        row.label.split()[3]: row.insn for row in listed if row.label.startswith("records of op")
    }
    assert listed[0].text == f"skip to {begins['0:']} if context: log_level is 0"
    (load,) = (row for row in listed if "BTF_LOAD" in row.text)
    assert load.text == ("call BPF_BTF_LOAD, attr of op 0, 40 bytes -> fd of op 0; it may fail")
    made = listed[load.insn + 1].text
    assert made == f"skip to {begins['1:']} if fd of op 0 is not negative"
    off = listed[begins["3:"] + 1].text
    assert off == f"skip to {begins['4:']} if context: progs[0].prog_fd is negative"
    given = listed[begins["1:"] + 2].text
    assert given == f"skip to {begins['3:']} if context: maps[0].map_fd is not 0"
    (value,) = (row.text for row in listed if "memory" in row.text)
    assert value == "copy value of op 2, 24 bytes <- memory at context: maps[0].initial_value"


def test_pointers_in_words() -> None:
    made = table(open_object(example("hello")))
    rows = loader_listing(made).rows
    assert [row.text for row in rows if row.text.startswith("point ")] == [
        "point attr of op 0: btf to btf of op 0",
        "point attr of op 2: key to key of op 2",
        "point attr of op 2: value/next_key to value of op 2",
        "point attr of op 3: license to license of op 3",
        "point attr of op 3: insns to insns of op 3",
        "point attr of op 3: fd_array to fd_array",
        "point attr of op 3: func_info to func_info of op 3",
        "point attr of op 3: line_info to line_info of op 3",
    ]


def test_records_that_follow_a_failure() -> None:
    made = table(open_object(example("hello")))
    rows = by_label(loader_listing(made))["records of all ops: closing"]
    first = rows[0].insn
    assert texts(rows) == [
        f"skip to {first + 7} if error is 0",
        *(
            text
            for number, op in enumerate((0, 1, 3))
            for text in (
                f"skip to {first + 3 + 2 * number} if fd of op {op} is not positive",
                f"close fd of op {op}",
            )
        ),
    ]


@pytest.mark.parametrize("name", SAMPLES)
def test_everything_in_a_table_loaders_blob_is_named(name: str) -> None:
    made = table(sample(SAMPLES[name]))
    said = "\n".join(f"{row.text} {row.note}" for row in loader_listing(made).rows)
    assert f"{RegionKind.RECORDS.value}[i]" in said
    for region in made.regions:
        if region.kind in (RegionKind.ATTR, RegionKind.FDS, RegionKind.FOUND, RegionKind.DATA):
            what = region.field or {RegionKind.FDS: "fd"}.get(region.kind, region.kind.value)
            if region.field != "name":
                assert f"{what} of op {region.op}" in said, region
    assert {op.name for op in made.trace.ops if isinstance(op, BtfFind | KsymFind)} == set(
        re.findall(r"find \w+ '(\w+)'", said)
    )
    assert "padding" not in said and "unknown" not in said


def test_records_are_those_of_the_blob() -> None:
    made = table(asking())
    rows = loader_listing(made).rows
    kept = b"".join(
        made.blob[region.offset : region.offset + region.size]
        for region in sorted(made.regions)
        if region.kind is RegionKind.RECORDS
    )
    assert b"".join(row.raw for row in rows) == made.insns + kept


@pytest.mark.parametrize(
    ("at", "content", "text"),
    [
        (records.CODE, b"\xff", "unknown code 255"),
        (records.B, b"\xff" * 4, "skip to 9 if padding is 0"),
        (records.ARG, b"\x09", "skip to 9 if context: log_level is as condition 9"),
    ],
)
def test_damaged_records(at: int, content: bytes, text: str) -> None:
    made = table(open_object(example("hello")))
    region = next(r for r in made.regions if r.kind is RegionKind.RECORDS)
    blob = bytearray(made.blob)
    blob[region.offset + at : region.offset + at + len(content)] = content
    found = by_label(loader_listing(replace(made, blob=bytes(blob))))
    assert texts(found[f"records of {LOG_FIELDS}"])[0] == text
