"""The errors that lskel raises, as data.

Everything that lskel itself finds wrong is an `LskelError`. Its message is one line built from
three parts: *where* (file, section, symbol, offset, outermost first), *what* was wrong, and a
*hint* that says what to do. Each layer adds the place that it knows by `with at(...)`.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lskel.tasks import Label


class LskelError(Exception):
    """Base of all errors of lskel: `str()` is one line for a person.

    `details` are lines that say more, which the command line prints after that one.
    """

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
        self.places: list[str] = []
        self.details: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = ": ".join([*self.places, self.what])
        return printable(f"{text} ({self.hint})" if self.hint else text)


# To be ignored where it is shown (Default_Ignorable_Code_Point of Unicode 16), though Python takes
# it for printable.
_UNSEEN = frozenset(
    map(
        chr,
        (
            *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0),
            *range(0x180B, 0x1810),
            *range(0xFE00, 0xFE10),
            *range(0xE0100, 0xE01F0),
        ),
    )
)


def printable(text: str) -> str:
    """The text in one line: what would move a terminal's cursor, or not be seen, is an escape then.

    Names come from files, which anybody may have written.
    """
    if text.isprintable() and (text.isascii() or _UNSEEN.isdisjoint(text)):
        return text
    return "".join(
        c if c.isprintable() and c not in _UNSEEN else c.encode("unicode_escape").decode()
        for c in text
    )


class BadInput(LskelError, ValueError):
    """The bytes given are not what they claim to be: truncated, corrupt, contradictory."""


class BadObject(BadInput):
    """An ELF file that is damaged, or a BPF object that breaks the rules of BTF or of libbpf."""


class BadBundle(BadInput):
    """A file that is not an lskel bundle, or a damaged one."""


class NotSupported(LskelError):
    """Valid input that lskel, or the chosen loader form, cannot handle."""


class LimitExceeded(NotSupported):
    """A ceiling of a loader form, or of what an input may cost; `actual` is what the input has."""

    def __init__(self, what: str, *, limit: int, actual: int, hint: str = "") -> None:
        super().__init__(what, hint=hint)
        self.limit = limit
        self.actual = actual


class NotFound(LskelError, LookupError):
    """A name that should be there is not: a type, an attach target, a map, a program."""


class UsageError(LskelError):
    """The request contradicts itself or the object."""


# More names than these are not listed in an error.
_MANY = 16


class UnknownName(NotFound, UsageError, KeyError, AttributeError):
    """A map, program, variable or member was asked for that there is not.

    As an attribute, by key, or as an option.
    """


def unknown(what: str, name: str, known: Iterable[str]) -> UnknownName:
    """The error for a name, with those that there are, or where these are many, those like it."""
    names = list(known)
    if len(names) > _MANY:
        from difflib import get_close_matches

        names = get_close_matches(name, names) or [*names[:_MANY], "..."]
    hint = f"there is: {', '.join(names) or 'none'}"
    return UnknownName(f"there is no {what} '{name}'", hint=hint)


class NoElement(NotFound, KeyError, IndexError):
    """A map has no element of that key or number."""


class ReadOnly(UsageError, AttributeError):
    """Something was assigned that cannot change, or not any more."""


class OutOfRange(UsageError, OverflowError):
    """A number does not fit its type."""


class WrongType(UsageError, TypeError):
    """A value is of a type that cannot be what it was given for."""


class WrongValue(UsageError, ValueError):
    """A value has too many or too few bytes or elements, or says nothing that is one."""


class Closed(LskelError, ValueError):
    """What is used was closed, perhaps by another thread in the midst of it."""


class ReplayError(LskelError):
    """A replay failed: an operation of the trace got an error from the kernel.

    `errno` is positive; `op` the index of the failing operation in the trace, `label` what that is
    and `why` what became of it, or None and "" where the replay cannot know. `log` is the
    verifier's (or BTF's) log as lines, empty when there is none.
    """

    def __init__(
        self,
        what: str,
        *,
        errno: int,
        op: int | None = None,
        label: Label | None = None,
        why: str = "",
        log: tuple[str, ...] = (),
        hint: str = "",
    ) -> None:
        super().__init__(what, hint=hint)
        self.errno = errno
        self.op = op
        self.label = label
        self.why = why
        self.log = log


class NoPermission(ReplayError):
    """The kernel does not let this process use bpf(2) at all."""


def given_up(error: MemoryError | RecursionError) -> str:
    """What it means that Python gives up."""
    return "out of memory" if isinstance(error, MemoryError) else "nested too deeply"


# What to do about errnos that say the same of all calls.
_REMEDIES = {
    errno.EMFILE: "raise the limit of this process: ulimit -n",
    errno.ENFILE: "raise the limit of the machine: sysctl fs.file-max",
    errno.ENOSYS: "the kernel is built without it, or a sandbox hides it",
}


def remedy(number: int) -> str:
    """What to do about an errno, whichever call got it; empty where that depends."""
    return _REMEDIES.get(number, "")


@contextmanager
def at(*places: str) -> Iterator[None]:
    """Put `places` (outermost first) in front of any LskelError that leaves the block.

    Where Python gives up for want of memory or stack, that is one, too.
    """
    try:
        yield
    except LskelError as error:
        error.places[:0] = places
        raise
    except (MemoryError, RecursionError) as error:
        failure = LskelError(given_up(error))
        failure.places[:0] = places
        raise failure from error
