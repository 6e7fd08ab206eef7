"""Linking by hand-made functions: where subprograms come to lie, and what is renumbered for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lskel import budget
from lskel.bpf import insn as i
from lskel.bpf.insn import CallKind, Insn, Pseudo
from lskel.bpf.limits import MAX_INSNS
from lskel.btf.ext import Records
from lskel.cursor import ByteOrder
from lskel.errors import BadObject, LimitExceeded, UsageError
from lskel.load_phase.link import Linked
from lskel.load_phase.plan import linker
from lskel.object.functions import TEXT
from lskel.object.model import CallRef, ExternKind, ExternRef, Function
from tests.btf.samples import ORDERS
from tests.load_phase.build import (
    EXIT,
    NO_RECORDS,
    ObjectBuilder,
    Step,
    address,
    call,
    call_extern,
    insns_of,
    load_extern,
    load_map,
    load_value,
    near_call,
    number,
    pairs_of,
    records,
)


def link(build: ObjectBuilder, name: str = "main") -> Linked:
    obj = build.object()
    return linker(obj).link(obj.program(name).function)


def linked_insns(build: ObjectBuilder, name: str = "main") -> list[Insn]:
    return insns_of(link(build, name).insns, build.order)


def call_at(distance: int) -> Insn:
    return Insn(i.OP_CALL, src=CallKind.SUBPROGRAM, imm=distance)


def mov(value: int) -> Insn:
    return number(value).insns[0]


EXITS = EXIT.insns[0]


@pytest.mark.parametrize("order", ORDERS)
def test_subprograms_follow_in_the_order_of_first_calls(order: ByteOrder) -> None:
    build = ObjectBuilder(order)
    build.subprogram("unused", number(9), EXIT)
    build.subprogram("deep", number(3), EXIT)
    build.subprogram("second", number(2), EXIT)
    build.subprogram("first", number(1), call("deep"), call("second"), EXIT)
    build.program("main", "xdp", number(0), call("first"), call("second"), call("first"), EXIT)
    assert linked_insns(build) == [
        *(mov(0), call_at(3), call_at(8), call_at(1), EXITS),
        *(mov(1), call_at(2), call_at(3), EXITS),  # 5: first
        *(mov(3), EXITS),  # 9: deep, which first calls before second
        *(mov(2), EXITS),  # 11: second
    ]


@pytest.mark.parametrize("order", ORDERS)
def test_calls_backwards(order: ByteOrder) -> None:
    build = ObjectBuilder(order)
    build.subprogram("ping", number(1), call("pong"), EXIT)
    build.subprogram("pong", call("ping"), call("pong"), EXIT)
    build.program("main", "xdp", call("ping"), EXIT)
    assert linked_insns(build) == [
        *(call_at(1), EXITS),
        *(mov(1), call_at(1), EXITS),
        *(call_at(-4), call_at(-2), EXITS),
    ]


@pytest.mark.parametrize("order", ORDERS)
def test_address_of_a_subprogram(order: ByteOrder) -> None:
    """A callback: the kernel wants the distance, as of a call, and BPF_PSEUDO_FUNC."""
    build = ObjectBuilder(order)
    build.subprogram("callback", address("callback"), EXIT)
    build.program("main", "xdp", number(0), address("callback"), EXIT)
    second = Insn(0, imm=0x66)  # what the kernel does not look at stays
    assert linked_insns(build) == [
        *(mov(0), Insn(i.OP_LD_IMM64, 1, Pseudo.FUNC, imm=2), second, EXITS),
        *(Insn(i.OP_LD_IMM64, 1, Pseudo.FUNC, imm=-1), second, EXITS),
    ]


@pytest.mark.parametrize("order", ORDERS)
def test_calls_without_relocations_within_text(order: ByteOrder) -> None:
    build = ObjectBuilder(order)
    build.subprogram("other", number(1), EXIT)
    build.subprogram("caller", near_call(2), call("other"), EXIT)
    build.subprogram("last", number(3), near_call(-7), EXIT)
    build.program("main", "xdp", call("caller"), EXIT)
    assert linked_insns(build) == [
        *(call_at(1), EXITS),
        *(call_at(2), call_at(4), EXITS),  # 2: caller
        *(mov(3), call_at(1), EXITS),  # 5: last, which the first instruction of caller calls
        *(mov(1), EXITS),  # 8: other
    ]


def test_only_calls_of_subprograms_are_followed() -> None:
    helper = Step((Insn(i.OP_CALL, src=CallKind.HELPER, imm=1),))
    kfunc = Step((Insn(i.OP_CALL, src=CallKind.KFUNC, imm=1),))
    build = ObjectBuilder()
    build.subprogram("unused", number(1), EXIT)
    build.program("main", "xdp", helper, kfunc, EXIT)
    assert linked_insns(build) == [*helper.insns, *kfunc.insns, EXITS]


def test_each_program_has_copies_of_its_own() -> None:
    build = ObjectBuilder()
    build.subprogram("both", number(1), EXIT)
    build.program("main", "xdp", call("both"), EXIT)
    build.program("other", "tc", number(0), call("both"), EXIT)
    assert linked_insns(build) == [call_at(1), EXITS, mov(1), EXITS]
    assert linked_insns(build, "other") == [mov(0), call_at(1), EXITS, mov(1), EXITS]


def test_main_program_of_text() -> None:
    """What calls it from there calls it, and not a copy."""
    build = ObjectBuilder()
    build.subprogram("main", call("other"), EXIT)
    build.subprogram("other", call("main"), EXIT)
    build.program("unused", "xdp")
    obj = build.object()
    linked = linker(obj).link(obj.subprograms[0])
    assert insns_of(linked.insns, "little") == [call_at(1), EXITS, call_at(-3), EXITS]


@pytest.mark.parametrize("order", ORDERS)
def test_maps_and_their_values(order: ByteOrder) -> None:
    """By their index among the maps that are created, in subprograms, too."""
    build = ObjectBuilder(order)
    build.map("left_out", autocreate=False)
    build.map("zero")
    build.map("one")
    build.subprogram("inner", load_value("zero", 12), EXIT)
    build.program("main", "xdp", load_map("one"), load_value("one", 8), call("inner"), EXIT)
    assert linked_insns(build) == [
        *(Insn(i.OP_LD_IMM64, 2, Pseudo.MAP_IDX, imm=1), Insn(0, imm=0x66)),
        *(Insn(i.OP_LD_IMM64, 3, Pseudo.MAP_IDX_VALUE, imm=1), Insn(0, imm=8)),
        *(call_at(1), EXITS),
        *(Insn(i.OP_LD_IMM64, 3, Pseudo.MAP_IDX_VALUE, imm=0), Insn(0, imm=12)),
        EXITS,
    ]


def test_map_that_is_not_created() -> None:
    build = ObjectBuilder()
    build.map("left_out", autocreate=False)
    build.map("created")
    build.subprogram("inner", load_map("created"), load_value("left_out", 0), EXIT)
    build.program("main", "xdp", number(0), call("inner"), EXIT)
    build.program("other", "xdp")
    with pytest.raises(UsageError, match=r"^instruction 5 uses a map with autocreate disabled"):
        link(build)
    assert linked_insns(build, "other") == [EXITS]


@pytest.mark.parametrize("order", ORDERS)
def test_externs_by_instructions_of_the_whole_program(order: ByteOrder) -> None:
    """The linker leaves their instructions as they are."""
    build = ObjectBuilder(order)
    build.extern("kernel_call", ExternKind.KFUNC)
    build.extern("kernel_value", ExternKind.KSYM)
    build.subprogram("inner", number(1), call_extern("kernel_call"), EXIT)
    build.program("main", "xdp", load_extern("kernel_value"), call("inner"), EXIT)
    linked = link(build)
    assert linked.externs == (ExternRef(0, 1, is_call=False), ExternRef(5, 0, is_call=True))
    assert insns_of(linked.insns, order) == [
        *(Insn(i.OP_LD_IMM64, 4, imm=0x55), Insn(0, imm=0x66), call_at(1), EXITS),
        *(mov(1), call_at(-1), EXITS),
    ]


@pytest.mark.parametrize("order", ORDERS)
def test_records_move_with_their_code(order: ByteOrder) -> None:
    """func_info and line_info count instructions, CO-RE relocations bytes, of the whole program."""
    build = ObjectBuilder(order)

    def tables(first: int, core_at: int) -> dict[str, Records]:
        return {
            "func_info": records(order, (0, first)),
            "line_info": records(order, (0, first + 1), (1, first + 2)),
            "core_relos": records(order, (core_at, first + 3), size=16),
        }

    build.subprogram("inner", number(1), number(2), EXIT, **tables(20, 1))
    build.program("main", "xdp", number(0), call("inner"), EXIT, **tables(10, 0))
    linked = link(build)
    assert pairs_of(linked.func_info, order) == [(0, 10), (3, 20)]
    assert pairs_of(linked.line_info, order) == [(0, 11), (1, 12), (3, 21), (4, 22)]
    assert pairs_of(linked.core_relos, order) == [(0, 13), (8 * 4, 23)]
    assert [linked.func_info.size, linked.core_relos.size] == [12, 16]


def test_core_relocations_of_some_functions_only() -> None:
    core = records("little", (1, 7), size=24)
    build = ObjectBuilder()
    build.subprogram("with", number(1), number(2), EXIT, core_relos=core)
    build.subprogram("without", number(3), EXIT)
    build.program("main", "xdp", call("without"), call("with"), EXIT)
    linked = link(build)
    assert linked.core_relos == records("little", (8 * (3 + 2 + 1), 7), size=24)


@pytest.mark.parametrize("table", ["func_info", "line_info"])
def test_info_of_the_main_program_decides(table: str) -> None:
    some = records("little", (0, 1))
    build = ObjectBuilder()
    build.subprogram("with", EXIT, **{table: some})
    build.program("main", "xdp", call("with"), EXIT)
    assert getattr(link(build), table) == NO_RECORDS

    build = ObjectBuilder()
    build.subprogram("without", EXIT)
    build.program("main", "xdp", call("without"), EXIT, **{table: some})
    says = f"^function 'without': BTF.ext has no {table} for it, but for its callers"
    with pytest.raises(BadObject, match=says):
        link(build)


def test_call_into_the_middle() -> None:
    build = ObjectBuilder()
    build.subprogram("callee", number(1), EXIT)
    build.program("main", "xdp", number(0), call("callee"), call("callee"), EXIT)
    obj = build.object()
    refs = (CallRef(1, 1), CallRef(2, 1))
    main = replace(obj.programs[0].function, relocations=refs)
    says = "^section xdp: function 'main': instruction 1 calls instruction 1 of .text, where no"
    with pytest.raises(BadObject, match=says):
        linker(obj).link(main)


def test_call_within_another_section() -> None:
    build = ObjectBuilder()
    build.program("main", "xdp", number(0), near_call(-2), EXIT)
    says = "^section xdp: function 'main': instruction 1 calls within its section .*SEC"
    with pytest.raises(BadObject, match=says):
        link(build)


def large(name: str, insns: int) -> Function:
    code = EXIT.insns[0].encode("little") * insns
    return Function(name, TEXT, 0, code, (), NO_RECORDS, NO_RECORDS, NO_RECORDS)


def test_more_instructions_than_the_kernel_takes() -> None:
    build = ObjectBuilder()
    build.subprogram("callee", EXIT)
    build.program("main", "xdp", call("callee"), EXIT)
    fits = replace(build.object(), subprograms=(large("callee", MAX_INSNS - 2),))
    linked = linker(fits).link(fits.programs[0].function)
    assert i.count(linked.insns) == MAX_INSNS
    exceeds = replace(fits, subprograms=(large("callee", MAX_INSNS - 1),))
    with pytest.raises(LimitExceeded, match=f"than {MAX_INSNS} instructions") as caught:
        linker(exceeds).link(exceeds.programs[0].function)
    assert (caught.value.limit, caught.value.actual) == (MAX_INSNS, MAX_INSNS + 1)


def test_copies_for_all_programs_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each program is small enough, but there are many; debug information counts, too."""
    monkeypatch.setattr(budget, "SMALL_CODE", 0)
    monkeypatch.setattr(budget, "CODE_COPIES", 2)
    lines = records("little", (0, 1), (1, 2))
    build = ObjectBuilder()
    build.subprogram("shared", *[number(1)] * 100, EXIT, line_info=lines)
    build.program("main", "xdp", call("shared"), EXIT, line_info=lines)
    obj = build.object()
    links, main = linker(obj), obj.programs[0].function
    links.link(main)
    links.link(main)
    with pytest.raises(LimitExceeded, match="bytes of code and debug information") as caught:
        links.link(main)
    object_size = 8 * (101 + 2) + 2 * len(lines.data)
    assert caught.value.limit == 2 * object_size
    assert caught.value.actual == 2 * object_size + 8 * 2 + len(lines.data)


@given(st.data(), st.sampled_from(ORDERS))
@settings(max_examples=100, deadline=None)
def test_any_call_graph(data: st.DataObject, order: ByteOrder) -> None:
    """Each function begins with its number, so that one can see what a call leads to."""
    functions = range(1, data.draw(st.integers(1, 6)) + 1)
    callees = st.lists(st.sampled_from(functions), max_size=4)
    graph = [data.draw(callees) for _ in (0, *functions)]
    refer = data.draw(st.sampled_from([address, call]))
    build = ObjectBuilder(order)

    def steps(function: int) -> list[Step]:
        return [number(function), *(refer(str(callee)) for callee in graph[function]), EXIT]

    for function in functions:
        build.subprogram(str(function), *steps(function))
    build.program("main", "xdp", *steps(0))
    insns = linked_insns(build)

    laid_out: list[int] = []
    leads_to: list[list[int]] = []
    for at, insn in enumerate(insns):
        if insn.op == number(0).insns[0].op:
            laid_out.append(insn.imm)
            leads_to.append([])
        elif insn.op in (i.OP_CALL, i.OP_LD_IMM64):
            leads_to[-1].append(insns[at + insn.imm + 1].imm)
    assert laid_out == depth_first(graph)
    assert leads_to == [graph[function] for function in laid_out]


def depth_first(graph: Sequence[Sequence[int]]) -> list[int]:
    seen: list[int] = []

    def visit(function: int) -> None:
        if function not in seen:
            seen.append(function)
            for callee in graph[function]:
                visit(callee)

    visit(0)
    return seen
