"""Where programs send events: the calls of helpers that write to ring and perf buffers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from lskel import budget
from lskel.bpf import insn as i
from lskel.bpf.helpers import HELPERS
from lskel.bpf.insn import CallKind, Insn
from lskel.cursor import ByteOrder
from lskel.object.model import Function, JumpTableRef, MapRef, Object


class Arguments(NamedTuple):
    """The registers with the arguments of a helper; -1 if it has none of that kind.

    `reserves`: the helper returns a pointer to the event.
    """

    map: int
    size: int
    data: int = -1
    reserves: bool = False


_OUTPUT = Arguments(map=2, data=4, size=5)
# By the number of the helper.
_HELPERS = {
    HELPERS.index(name): arguments
    for name, arguments in (
        ("perf_event_output", _OUTPUT),
        ("skb_output", _OUTPUT),
        ("xdp_output", _OUTPUT),
        ("ringbuf_output", Arguments(map=1, data=2, size=3)),
        ("ringbuf_reserve", Arguments(map=1, size=2, reserves=True)),
        ("ringbuf_reserve_dynptr", Arguments(map=1, size=-1)),
    )
}


class Send(NamedTuple):
    """A call that sends an event to map number `map` of the object.

    `insn` counts from the start of `function`. `size` is the event's size in bytes, None if it is
    not a constant. `reserves`: as `Arguments`. `from_stack`: whether the event is surely on the
    stack.
    """

    function: Function
    insn: int
    map: int
    size: int | None
    reserves: bool
    from_stack: bool


class _Maps(NamedTuple):
    """The address of one of these maps."""

    numbers: frozenset[int]


class _Stack(NamedTuple):
    """An address on the stack."""


# What is known of a register: a map's address, a number, an address on the stack, or nothing.
_Known: TypeAlias = _Maps | _Stack | int
_State: TypeAlias = dict[int, _Known]
_STACK = _Stack()
_FRAME, _RETURNED, _CALLER_SAVED = 10, 0, (0, 1, 2, 3, 4, 5)
# Loads from packets, which call a function.
_PACKET_LOADS = (i.LD | i.ABS, i.LD | i.IND)


# Passes over a function until nothing changes; each loop in a loop takes one more.
_PASSES = 16


def sends(obj: Object) -> Iterator[Send]:
    """The calls that send events, in the order of the code.

    A call that may send to several maps is one of each. If nothing is known of its map, which may
    be an argument of the function, that is every map.
    """
    every, order = _Maps(frozenset(range(len(obj.maps)))), obj.order
    functions = [
        function
        for function in (*(program.function for program in obj.programs), *obj.subprograms)
        if any(_helper(i.read(function.code, at, order)) for at in i.find(function.code, i.OP_CALL))
    ]
    is_small = sum(i.count(function.code) for function in functions) <= budget.SENDING_CODE
    for function in functions:
        yield from _sends(function, order, every, is_small=is_small)


def _sends(function: Function, order: ByteOrder, every: _Maps, *, is_small: bool) -> Iterator[Send]:
    code, maps = function.code, {r.insn: r.map for r in function.relocations if type(r) is MapRef}
    insns = [i.read(code, at, order) for at in range(i.count(code))]
    entries = (r.targets for r in function.relocations if type(r) is JumpTableRef)
    targets = {entry - function.start for table in entries for entry in table}
    states = _states(insns, maps, targets) if is_small else {}
    for at, insn in enumerate(insns):
        found, state = _helper(insn), states.get(at, {})
        if found is None:
            continue
        sent_to, size = state.get(found.map), state.get(found.size)
        for number in sorted((sent_to if isinstance(sent_to, _Maps) else every).numbers):
            known_size = size if isinstance(size, int) else None
            from_stack = state.get(found.data) is _STACK
            yield Send(function, at, number, known_size, found.reserves, from_stack)


def _helper(insn: Insn) -> Arguments | None:
    is_one = insn.op == i.OP_CALL and insn.src == CallKind.HELPER
    return _HELPERS.get(insn.imm) if is_one else None


def _states(insns: list[Insn], maps: dict[int, int], targets: set[int]) -> dict[int, _State]:
    """What is known before each instruction, on all paths; nothing if that is not found out.

    `targets` are those of jumps by a table.
    """
    states: dict[int, _State] = {0: {_FRAME: _STACK}}
    for _ in range(_PASSES):
        is_done = True
        for at, insn in enumerate(insns):
            if at not in states:
                continue
            after = _after(states[at], insn, maps.get(at))
            for target in targets if insn.op == i.OP_GOTOX else _successors(at, insn):
                before = states.get(target)
                met = after if before is None else _common(before, after)
                if met != before:
                    states[target] = met
                    is_done = is_done and target > at
        if is_done:
            return states
    return {}


def _common(one: _State, other: _State) -> _State:
    found: _State = {}
    for register, known in one.items():
        another = other.get(register)
        if isinstance(known, _Maps) and isinstance(another, _Maps):
            found[register] = _Maps(known.numbers | another.numbers)
        elif known == another:
            found[register] = known
    return found


def _after(state: _State, insn: Insn, map_number: int | None) -> _State:
    """What is known after an instruction."""
    if insn.op == i.OP_CALL or insn.op & 0xE7 in _PACKET_LOADS:
        changed: tuple[int, ...] = _CALLER_SAVED
    elif insn.op and insn.op & 0x07 in (i.ALU, i.ALU64, i.LD, i.LDX):
        changed = (insn.dst,)
    elif insn.op & 0xE7 == i.STX | i.ATOMIC:
        changed = (insn.src, _RETURNED)
    else:
        return state
    after = {register: known for register, known in state.items() if register not in changed}
    if len(changed) == 1 and (known := _result(state, insn, map_number)) is not None:
        after[insn.dst] = known
    return after


def _successors(at: int, insn: Insn) -> tuple[int, ...]:
    """The instructions that may follow; the second slot of a wide one follows the first."""
    if insn.op == i.OP_EXIT:
        return ()
    target = _target(at, insn)
    if target is None:
        return (at + 1,)
    is_always = insn.op & 0xF0 == i.JA
    return (target,) if is_always else (at + 1, target)


def _target(at: int, insn: Insn) -> int | None:
    """The instruction that a jump goes to."""
    if insn.op & 0x07 not in (i.JMP, i.JMP32) or insn.op in (i.OP_CALL, i.OP_EXIT):
        return None
    is_long = insn.op == i.JMP32 | i.JA
    return at + 1 + (insn.imm if is_long else insn.off)


def _result(known: _State, insn: Insn, map_number: int | None) -> _Known | None:
    """What is known of a register after an instruction that sets it."""
    if i.is_wide(insn):
        return None if map_number is None else _Maps(frozenset({map_number}))
    if insn.op == i.ALU64 | i.MOV | i.K or (insn.op == i.ALU | i.MOV | i.K and insn.imm >= 0):
        return insn.imm
    if insn.op == i.ALU64 | i.MOV | i.X and not insn.off:
        return known.get(insn.src)
    if insn.op == i.ALU64 | i.ADD | i.K and known.get(insn.dst) is _STACK:
        return _STACK
    return None
