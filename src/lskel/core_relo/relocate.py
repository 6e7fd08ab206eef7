"""All CO-RE relocations of a program against a kernel's BTF: patched code and a report."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from lskel import budget
from lskel.btf.btf import Btf
from lskel.btf.compatible import TypeComparison
from lskel.core_relo.access import Access, local_access, target_access
from lskel.core_relo.candidates import Candidate, KernelTypes
from lskel.core_relo.patch import CorePatcher, can_resize
from lskel.core_relo.records import CoreKind, CoreQuestion, CoreRelocation
from lskel.core_relo.values import CoreValue, value_of
from lskel.cursor import ByteOrder
from lskel.errors import BadObject


class CoreResult(Enum):
    """What a relocation became."""

    RESOLVED = "resolved"
    NO_TYPE = "the kernel has no such type"
    NO_MATCH = "no type of this name has it"
    WRONG_SIZE = "the field has another size, and is not an unsigned integer or pointer"
    AMBIGUOUS = "types of this name differ"
    INVALID = "invalid"


# Results that make the instruction invalid; the program loads if it is never reached.
POISONED = frozenset({CoreResult.NO_TYPE, CoreResult.NO_MATCH, CoreResult.WRONG_SIZE})
# Results with which no kernel and no libbpf loads the program.
FAILED = frozenset({CoreResult.AMBIGUOUS, CoreResult.INVALID})


class CoreAnswer(NamedTuple):
    """What the kernel has for a question: `before` in the object, `after` in the kernel.

    `result` is RESOLVED also for what does not exist, where that is a value (0). `targets` are all
    types of the kernel that have it; `reason` says what is invalid.
    """

    result: CoreResult
    before: CoreValue | None = None
    after: CoreValue | None = None
    local: Access | None = None
    targets: tuple[Access, ...] = ()
    reason: str = ""


class CoreOutcome(NamedTuple):
    """What became of one relocation."""

    relocation: CoreRelocation
    answer: CoreAnswer


class CoreRelocator:
    """Relocates programs of one object (`btf`) for one kernel; equal questions are asked once."""

    def __init__(self, btf: Btf, kernel: KernelTypes) -> None:
        self.btf = btf
        self._kernel = kernel
        self._work = budget.Allowance(budget.CORE_WORK, "types and members for CO-RE")
        self._answers: dict[CoreQuestion, CoreAnswer] = {}
        self._comparisons: dict[int, TypeComparison] = {}
        self._candidates: dict[int, list[Candidate]] = {}

    def relocate(
        self, code: bytes, order: ByteOrder, relocations: Iterable[CoreRelocation]
    ) -> tuple[bytes, tuple[CoreOutcome, ...]]:
        """The patched code, and what became of each relocation, in order.

        Failed relocations leave their instruction as it is.
        """
        patcher = CorePatcher(bytearray(code), order)
        outcomes = tuple(
            CoreOutcome(relocation, self._apply(patcher, relocation)) for relocation in relocations
        )
        return bytes(patcher.code), outcomes

    def answer(self, question: CoreQuestion) -> CoreAnswer:
        """What the kernel has for it."""
        found = self._answers.get(question)
        if found is None:
            try:
                found = self._ask(question)
            except BadObject as error:
                found = CoreAnswer(CoreResult.INVALID, reason=str(error))
            self._answers[question] = found
        return found

    def _apply(self, patcher: CorePatcher, relocation: CoreRelocation) -> CoreAnswer:
        answer = self.answer(relocation.question)
        if answer.result in FAILED:
            return answer
        try:
            if answer.before is None or answer.after is None:
                patcher.poison(relocation.insn)
                return answer
            fits = answer.before.size == answer.after.size or can_resize(
                self.btf, answer.before, answer.targets[0].btf, answer.after
            )
            if not patcher.patch(relocation.insn, answer.before, answer.after, fits):
                return answer._replace(result=CoreResult.WRONG_SIZE)
        except BadObject as error:
            return answer._replace(result=CoreResult.INVALID, reason=str(error))
        return answer

    def _ask(self, question: CoreQuestion) -> CoreAnswer:
        kind = question.kind
        local = local_access(self.btf, question)
        if kind is CoreKind.LOCAL_TYPE_ID:
            value = value_of(kind, local)
            return CoreAnswer(CoreResult.RESOLVED, value, value, local)
        if not self.btf[question.type].name:
            raise BadObject("anonymous types cannot be relocated")
        before = value_of(kind, local)
        candidates = self._find(question)
        found = []
        self._work.spend(budget.CORE_CANDIDATE * len(candidates))
        for candidate in candidates:
            access = target_access(local, kind, *candidate, self._comparison(candidate.btf))
            if access is not None:
                found.append((candidate, access, value_of(kind, access)))
        if not found:
            after = value_of(kind, None)
            missing = CoreResult.NO_MATCH if candidates else CoreResult.NO_TYPE
            result = missing if after is None else CoreResult.RESOLVED
            return CoreAnswer(result, before, after, local)
        targets = tuple(access for _candidate, access, _value in found)
        after = found[0][2]
        for _candidate, access, value in found[1:]:
            assert value is not None and after is not None
            if access.bit_offset != targets[0].bit_offset or value.number != after.number:
                reason = f"{after.number} and {value.number}"
                return CoreAnswer(CoreResult.AMBIGUOUS, before, after, local, targets, reason)
        # Later relocations of the type look only at those that had this one.
        self._candidates[question.type] = [candidate for candidate, *_rest in found]
        return CoreAnswer(CoreResult.RESOLVED, before, after, local, targets)

    def _comparison(self, target: Btf) -> TypeComparison:
        return self._comparisons.setdefault(
            id(target), TypeComparison(self.btf, target, self._work)
        )

    def _find(self, question: CoreQuestion) -> list[Candidate]:
        found = self._candidates.get(question.type)
        if found is None:
            found = self._kernel.candidates(self.btf, question.type)
            self._candidates[question.type] = found
        return found
