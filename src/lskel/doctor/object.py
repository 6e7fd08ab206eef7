"""Whether an object would load here and, if not, all that is in the way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from lskel.doctor.diagnosis import Item, What, diagnose
from lskel.doctor.finding import Answer, Line, fact, refused, yes
from lskel.doctor.needs import needs
from lskel.errors import LskelError, NoPermission, ReplayError, UsageError
from lskel.loader.model import Bytes, Form, Loader
from lskel.replay.load import open_loader
from lskel.replay.options import DEFAULTS, Options
from lskel.replay.trust import check_bytes, check_trace, judged
from lskel.runtime.loader import check_byte_order
from lskel.runtime.pins import existing, pinnable
from lskel.trace import Trace


class ObjectReport(NamedTuple):
    """What would become of an object: `items` are its maps and programs, and what is in the way.

    `form` is the loader's, None for direct replay. `error` is what `lskel load` would say, None
    where it would load; `needs` is what the object takes of the kernel beyond the ordinary.
    """

    name: str
    form: Form | None
    error: LskelError | None
    items: tuple[Item, ...]
    needs: tuple[Line, ...]

    @property
    def loads(self) -> bool:
        """Whether the object would load here."""
        return self.error is None

    def __str__(self) -> str:
        if self.error is None:
            return f"{self.name} would load here"
        in_the_way = dict.fromkeys(
            f"{item.what.value} '{item.name}'" if item.name else item.what.value
            for item in self.items
            if item.finding.answer is Answer.NO
        )
        return f"{self.name} would not load here: {', '.join(in_the_way) or self.error}"


def examine_object(
    loader: Loader, options: Options = DEFAULTS, *, direct: bool = False
) -> ObjectReport:
    """Load it as `lskel load` would, and let it go; where that fails, find out all that is wrong.

    By the loader program or, where `direct`, by system calls one by one. Nothing is pinned,
    registered or left. Loaders that attach (--links) do so for the moment. UsageError for options
    that do not fit the object; loading a second time, call by call, takes as long as loading does.
    """
    trace = loader.trace
    form = None if direct else loader.form
    try:
        check_byte_order(trace.name, trace.order)
        if direct:
            check_trace(loader)
        else:
            check_bytes(loader, options)
    except LskelError as error:
        return ObjectReport(trace.name, form, error, (_loader_item(error),), ())
    needed = needs(trace, options.pin_root, direct=direct)
    try:
        _check_pins(trace, options)
        open_loader(loader, options, direct=direct).rehearse()
    except LskelError as error:
        # Of other bytes than the trace generates, the trace tells nothing.
        is_told = judged(loader).compared is not Bytes.DIFFERENT
        items = tuple(diagnose(trace, options, error)) if is_told else ()
        if not any(item.finding.answer is Answer.NO for item in items):
            items = (_loader_item(error), *items)
        return ObjectReport(trace.name, form, error, items, needed)
    loads = [options.autoload.get(p.name, p.autoload) for p in trace.programs]
    return ObjectReport(trace.name, form, None, tuple(_all_well(trace, loads)), needed)


def _check_pins(trace: Trace, options: Options) -> None:
    """Where maps ask to be pinned, pins can be made: the one thing that is not tried."""
    there, _ = existing(str(options.pin_root))
    is_pinned = any(made.is_pinned for made in trace.maps)
    if is_pinned and not pinnable(there):
        raise UsageError(
            f"{trace.name}: {options.pin_root}: no place for pins: {there} is not writable",
            hint="choose another directory with --pin-root",
        )


def _all_well(trace: Trace, loads: list[bool]) -> Iterator[Item]:
    for made in trace.maps:
        yield Item(What.MAP, made.name, yes())
    for program, is_loaded in zip(trace.programs, loads, strict=True):
        yield Item(What.PROGRAM, program.name, yes() if is_loaded else fact("left out"))


def _loader_item(error: LskelError) -> Item:
    """All operations went well one by one, or could not be tried."""
    finding = refused(error)
    if not isinstance(error, ReplayError):
        return Item(What.LOADER, "", finding)
    is_the_loader = error.op is None and not isinstance(error, NoPermission)
    if is_the_loader and finding.answer is Answer.UNKNOWN:
        finding = finding._replace(remedy=f"{finding.remedy}; or try --replay direct")
    return Item(What.LOADER, "", finding, error.op, error)
