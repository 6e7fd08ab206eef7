"""A BPF interpreter: runs one program and checks every memory access.

It executes the instruction set of RFC 9669, except the legacy packet loads (section 5.5), and
what Linux added: ordered loads and stores, `may_goto`, casts of addresses, and `gotox`. Helpers,
kfuncs and map addresses come from the simulated kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from lskel import budget as limits
from lskel.bpf import insn as i
from lskel.bpf.disasm import format_insn
from lskel.bpf.insn import Pseudo
from lskel.errors import LimitExceeded, NotFound
from lskel.replay.simulator.interpreter.arithmetic import signed
from lskel.replay.simulator.interpreter.decode import decode
from lskel.replay.simulator.interpreter.fault import (
    BudgetSpent,
    Illegal,
    InsnLocation,
    SimulatorFault,
)
from lskel.replay.simulator.interpreter.step import EXIT, MASK, SCRATCH, UNSET, Registers
from lskel.replay.simulator.memory import Memory, MemoryFault, MemoryRegion

# A helper takes the calling machine and r1 to r5, unsigned, and returns r0, of which the low 64
# bits count. A MemoryFault in it becomes a fault of the call.
Helper = Callable[["Interpreter", int, int, int, int, int], int]
# The address that a ld_imm64 loads: from its kind, its immediate (signed) and that of its second
# slot (unsigned; for MAP_VALUE and MAP_IDX_VALUE the offset into the value, to be added).
Resolve = Callable[[Pseudo, int, int], int]

STACK_SIZE = 512
# As in the kernel, uninitialised stack is not zero.
STACK_FILL = 0xA5
# Linux's MAX_CALL_FRAMES (bpf_verifier.h): the program's frame and those of nested calls.
MAX_FRAMES = 8
# Linux's BPF_MAX_LOOPS: so often a function's `may_goto` does not jump. Since 6.15 it is a quarter
# of a second on some machines.
MAX_LOOPS = 1 << 23

# Functions have addresses, but their code is not in memory.
_CODE = 0xFFFF_FFFF_C000_0000


def _calls() -> limits.Allowance:
    return limits.Allowance(limits.FRAMES, "calls of functions")


def _unresolved(pseudo: Pseudo, number: int, _: int) -> int:
    raise NotFound(f"cannot resolve {pseudo.name} {number}")


class Interpreter:
    """Runs `code`, as passed to PROG_LOAD, in the byte order of `memory`.

    `kfuncs` are by (BTF id, offset field of the call). `resolve` is called once, during
    construction, for each ld_imm64 of a map, a map value or a kernel variable; its exceptions
    propagate. `budget` is the maximum number of instructions per run. `arena` is the address in
    user space of the program's arena; its memory is mapped to the low 32 bits of that address.
    """

    def __init__(
        self,
        code: bytes,
        memory: Memory,
        helpers: Mapping[int, Helper],
        *,
        kfuncs: Mapping[tuple[int, int], Helper] | None = None,
        resolve: Resolve = _unresolved,
        budget: int = limits.INSTRUCTIONS,
        arena: int = 0,
    ) -> None:
        self.code = code
        self.memory = memory
        self.helpers = helpers
        self.kfuncs = kfuncs or {}
        self.resolve = resolve
        self.budget = budget
        self.arena = arena
        # What is left of MAX_LOOPS, of each frame.
        self._loops: list[int] = []
        self._calls = _calls()
        self._ticks: Iterator[int] = iter(())
        self._steps = decode(code, self)

    def run(self, context: MemoryRegion | int) -> int:
        """Run the program from its first instruction; r1 is the context's address.

        Returns r0 as a signed 64-bit number. SimulatorFault for an illegal operation.
        """
        # All functions share this iterator, so that nested calls share the budget.
        self._ticks = iter(range(self.budget))
        self._calls = _calls()
        address = context.base if isinstance(context, MemoryRegion) else context
        return signed(self.enter(0, (address, *SCRATCH[1:])), 64)

    def call(self, function: int, *args: int) -> int:
        """Call the function at an address (`address_of`) from a helper; return its r0, unsigned.

        `args` are r1 to r5, or the first of these. Errors in it, or in its address, are faults of
        the program: helpers do not catch them.
        """
        numbers = [arg & MASK for arg in args]
        return self.enter(self.index_of(function), (*numbers, *SCRATCH)[: len(SCRATCH)])

    @staticmethod
    def address_of(index: int) -> int:
        """The address of an instruction, for functions and jump tables."""
        return _CODE + i.SIZE * index & MASK

    def index_of(self, address: int) -> int:
        """The instruction at an address."""
        index, rest = divmod(address - _CODE, i.SIZE)
        if rest or index not in self._steps:
            raise Illegal(f"no instruction at {address:#x}")
        return index

    def may_repeat(self) -> bool:
        """Whether a loop of the current function may go on: it counts as one round."""
        left = self._loops[-1]
        self._loops[-1] = max(left - 1, 0)
        return left > 0

    def enter(self, index: int, args: Sequence[int]) -> int:
        """Run the function that begins at an instruction, in its own frame; return its r0.

        RFC 9669 section 4.3.2. `args` are r1 to r5, unsigned.
        """
        if index not in self._steps:
            raise Illegal(f"no function at instruction {index}")
        self._calls.spend()
        frame = len(self._loops)
        if frame == MAX_FRAMES:
            raise Illegal(f"more than {MAX_FRAMES} nested call frames")
        stack = self.memory.map(f"stack of frame {frame}", bytearray((STACK_FILL,)) * STACK_SIZE)
        self._loops.append(MAX_LOOPS)
        try:
            frame_pointer = stack.base + STACK_SIZE
            return self._execute(index, [UNSET, *args, *(UNSET,) * 4, frame_pointer])
        finally:
            self._loops.pop()
            self.memory.unmap(stack)

    def _execute(self, index: int, registers: Registers) -> int:
        steps = self._steps
        try:
            for _ in self._ticks:
                index = steps[index](registers)
                if index == EXIT:
                    return registers[0]
        except SimulatorFault as fault:
            fault.called_from(self._place(index))
            raise
        except LimitExceeded as error:
            raise BudgetSpent(
                str(error), error.limit, place=self._place(index), registers=registers
            ) from error
        except (Illegal, MemoryFault) as error:
            region = error.nearest if isinstance(error, MemoryFault) else None
            raise SimulatorFault(
                str(error), place=self._place(index), registers=registers, region=region
            ) from error
        raise BudgetSpent(
            f"still running after {self.budget} instructions",
            self.budget,
            place=self._place(index),
            registers=registers,
        )

    def _place(self, index: int) -> InsnLocation:
        order = self.memory.order
        insn = i.read(self.code, index, order)
        second = None
        if i.is_wide(insn) and index + 1 < i.count(self.code):
            second = i.read(self.code, index + 1, order)
        return InsnLocation(index, format_insn(insn, second, index=index, order=order))
