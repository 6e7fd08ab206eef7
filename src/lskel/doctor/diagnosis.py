"""Finding every reason why an object does not load, part by part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from enum import Enum
from typing import NamedTuple

from lskel.catalog.attach_kinds import attach_kind_row
from lskel.doctor.error_collecting import ErrorCollectingKernel
from lskel.doctor.finding import (
    NETWORK_RIGHTS,
    TRACING_RIGHTS,
    Answer,
    Finding,
    fact,
    no,
    refused,
    unknown,
    yes,
)
from lskel.errors import LskelError, NoPermission, NotFound, ReplayError, printable
from lskel.replay.direct import Calls
from lskel.replay.options import Options, apply
from lskel.replay.prepared_trace import PreparedTrace, prepare_trace
from lskel.runtime.attach_point import load_target
from lskel.runtime.inputs import no_target
from lskel.runtime.kernel import RUNNING
from lskel.runtime.maps.base import Map
from lskel.runtime.maps.kconfig import KconfigMap
from lskel.runtime.objects import Fd
from lskel.runtime.signals import uninterrupted
from lskel.skeleton.dynamic import collection_of
from lskel.trace import (
    AttachBtfId,
    AttachFd,
    BtfFind,
    BtfLoad,
    Close,
    InputKind,
    KsymFind,
    LinkCreate,
    MapCreate,
    MapFreeze,
    MapUpdate,
    Op,
    ProgLoad,
    RawTracepointOpen,
    Trace,
    inputs_of,
    references,
)
from lskel.verifier.explain import explain_failure


class PartKind(Enum):
    """The parts of an object that may fail to load."""

    LOADER = "loader"
    KCONFIG = "kconfig"
    BTF = "btf"
    EXTERN = "extern"
    MAP = "map"
    PROGRAM = "program"


class DiagnosisItem(NamedTuple):
    """A part of an object, and whether it would load here.

    `op` is the failed operation of the trace, or None; `error` is the kernel's error, with the
    verifier's log.
    """

    what: PartKind
    name: str
    finding: Finding
    op: int | None = None
    error: ReplayError | None = None


def diagnose(trace: Trace, options: Options, error: LskelError) -> Iterator[DiagnosisItem]:
    """Every problem of a trace that failed to load with `error`, then all its maps and programs.

    UsageError for options that do not fit the trace.
    """
    if isinstance(error, NoPermission):
        why = unknown("not tried: this process may not use bpf(2)", error.hint)
        for made in trace.maps:
            yield DiagnosisItem(PartKind.MAP, made.name, why)
        for program in trace.programs:
            yield DiagnosisItem(PartKind.PROGRAM, program.name, why)
        return
    with ExitStack() as stack:
        diagnosis = _Diagnosis(trace, options, stack)
        diagnosis.walk()
    yield from diagnosis.items()


class _Diagnosis:
    """Makes the calls of a trace, continues after failures, and skips what depends on them."""

    def __init__(self, trace: Trace, options: Options, stack: ExitStack) -> None:
        self._trace = trace
        self._options = options
        self._stack = stack
        self._kernel = ErrorCollectingKernel()
        self._bpf = collection_of(trace, kernel=self._kernel)
        # By the number of the operation; the others by that of the program or map.
        self._failed: dict[int, DiagnosisItem] = {}
        self._untargeted: dict[int, Finding] = {}
        self._maps: dict[int, DiagnosisItem] = {}
        self._programs: dict[int, DiagnosisItem] = {}
        self._others: list[DiagnosisItem] = []
        self._prepared = self._prepare()

    def walk(self) -> None:
        """Run all operations."""
        self._check_kconfig()
        calls = Calls(self._prepared, self._stack)
        for number, op in enumerate(self._prepared.trace.ops):
            if self._prepared.skips(number) or isinstance(op, Close):
                continue
            in_the_way = self._in_the_way(op)
            if in_the_way is not None:
                self._record(number, op, in_the_way)
                continue
            try:
                with uninterrupted():
                    calls.issue(number, op)
            except ReplayError as error:
                self._record(number, op, self._refused(op, error), error)

    def items(self) -> Iterator[DiagnosisItem]:
        """The results: problems first, then all maps, then all programs."""
        yield from self._others
        for slot, made in enumerate(self._trace.maps):
            yield self._maps.get(slot, DiagnosisItem(PartKind.MAP, made.name, yes()))
        for slot, program in enumerate(self._trace.programs):
            if slot in self._untargeted:
                yield DiagnosisItem(PartKind.PROGRAM, program.name, self._untargeted[slot])
            elif not self._prepared.loads[slot]:
                yield DiagnosisItem(PartKind.PROGRAM, program.name, fact("autoload disabled"))
            else:
                yield self._programs.get(slot, DiagnosisItem(PartKind.PROGRAM, program.name, yes()))

    def _check_kconfig(self) -> None:
        for made in self._bpf.maps:
            if isinstance(made, KconfigMap):
                try:
                    made.changed_value(RUNNING, self._trace.order)
                except NotFound as error:
                    self._others.append(
                        DiagnosisItem(PartKind.KCONFIG, "", no(error.what, error.hint))
                    )

    def _prepare(self) -> PreparedTrace:
        """The prepared trace, without programs that lack an attach target.

        Reused maps are opened one by one; each may fail.
        """
        apply(self._options, self._bpf, self._trace)
        asked = {k.slot for k in self._trace.inputs if isinstance(k, AttachFd | AttachBtfId)}
        for slot, program in enumerate(self._bpf.progs):
            if slot in asked and program.autoload and load_target(program) is None:
                error = no_target(program)
                self._untargeted[slot] = no(error.what, error.hint)
                program.autoload = False
        request = self._bpf.request(self._stack, self._stack, reused=self._reused)
        return prepare_trace(self._trace, request)

    def _reused(self, made: Map) -> Fd | None:
        """The fd of a reused map; a failure is recorded."""
        bpf = self._bpf
        # Not by `index`: maps that are mappings compare by content.
        slot = next(slot for slot, item in enumerate(bpf.maps) if item is made)
        try:
            return made.open_reused(self._kernel, bpf.pin_root, trust_pins=bpf.trust_pins)
        except LskelError as error:
            op = self._trace.maps[slot].op
            finding = refused(error, rights=NETWORK_RIGHTS)
            self._maps[slot] = self._failed[op] = DiagnosisItem(
                PartKind.MAP, made.name, finding, op
            )
            return None

    def _in_the_way(self, op: Op) -> Finding | None:
        """Why an operation cannot be tried: something that it needs is missing."""
        for given in inputs_of(op):
            if isinstance(kind := self._kind(given.number), Finding):
                return kind
        for number in _refs(self._trace, op):
            item = self._failed.get(number)
            if item is not None:
                what = f"{item.what.value} '{item.name}'" if item.name else "the object's BTF"
                return unknown(f"not tried: needs {what}", item.finding.remedy)
        return None

    def _kind(self, number: int) -> Finding | InputKind:
        """An input of the trace, or the finding if this machine cannot provide it."""
        kind = self._trace.inputs[number]
        key: object = kind
        if isinstance(kind, AttachFd | AttachBtfId):
            key = self._trace.programs[kind.slot].name
        error = self._kernel.lacks.get(key)
        return kind if error is None else refused(error)

    def _refused(self, op: Op, error: ReplayError) -> Finding:
        row = attach_kind_row("", op.type, 0) if isinstance(op, ProgLoad) else None
        is_tracing = row is not None and not row.network
        finding = refused(error, rights=TRACING_RIGHTS if is_tracing else NETWORK_RIGHTS)
        if not isinstance(op, BtfFind | KsymFind):  # for lookups, keep which program needs it
            finding = finding._replace(said=printable(error.why))
        if isinstance(op, ProgLoad) and finding.answer is Answer.NO and error.log:
            advice = explain_failure(error, self._trace).suggestion
            finding = finding._replace(remedy=advice or finding.remedy)
        return finding

    def _record(
        self, number: int, op: Op, finding: Finding, error: ReplayError | None = None
    ) -> None:
        item = self._item(number, op, finding, error)
        self._failed[number] = item
        slot = self._slot(op)
        if item.what is PartKind.PROGRAM and slot is not None:
            self._programs.setdefault(slot, item)
        elif item.what is PartKind.MAP and error is None and not isinstance(op, MapCreate):
            # The map is known to fail; a missing element value is not its fault.
            return
        elif item.what is PartKind.MAP and slot is not None:
            self._maps.setdefault(slot, item)
        else:
            self._others.append(item)

    def _item(
        self, number: int, op: Op, finding: Finding, error: ReplayError | None
    ) -> DiagnosisItem:
        trace = self._trace
        if isinstance(op, BtfLoad):
            return DiagnosisItem(PartKind.BTF, "", finding, number, error)
        if isinstance(op, BtfFind | KsymFind):
            return DiagnosisItem(PartKind.EXTERN, op.name, finding, number, error)
        if isinstance(op, MapCreate):
            return DiagnosisItem(PartKind.MAP, op.name, finding, number, error)
        if isinstance(op, ProgLoad):
            return DiagnosisItem(
                PartKind.PROGRAM, trace.programs[op.slot].name, finding, number, error
            )
        if isinstance(op, MapUpdate | MapFreeze):
            made = trace.subject(op)
            assert isinstance(made, MapCreate)
            return DiagnosisItem(PartKind.MAP, made.name, finding, number, error)
        slot = self._slot(op)
        if isinstance(op, RawTracepointOpen | LinkCreate) and slot is not None:
            return DiagnosisItem(
                PartKind.PROGRAM, trace.programs[slot].name, finding, number, error
            )
        raise AssertionError(f"unexpected failure of {op}")

    def _slot(self, op: Op) -> int | None:
        """The slot of the map or program of an operation."""
        subject = self._trace.subject(op)
        return subject.slot if isinstance(subject, MapCreate | ProgLoad) else None


def _refs(trace: Trace, op: Op) -> Iterator[int]:
    """The numbers of the operations whose results an operation uses."""
    yield from (reference.ref.op for reference in references(op))
    if isinstance(op, ProgLoad):
        yield from (trace.maps[slot].op for slot in trace.maps_in_code(op))
