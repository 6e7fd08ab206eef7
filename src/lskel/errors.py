"""The errors that lskel raises, as data.

Everything that lskel itself finds wrong is an `LskelError`. Its message is one line built from
three parts: *where* (file, section, symbol, offset, outermost first), *what* is wrong, and a
*hint* that says what to do. Each layer adds the location that it knows with `with at(...)`.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lskel.tasks import Label


class LskelError(Exception):
    """Base of all lskel errors: `str()` is a one-line message.

    `details` are further lines, which the command line prints after the message.
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


# Invisible (Default_Ignorable_Code_Point of Unicode 16), but printable for Python.
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
    """The text on one line, with control and invisible characters escaped.

    Names come from files, which are not trusted.
    """
    if text.isprintable() and (text.isascii() or _UNSEEN.isdisjoint(text)):
        return text
    return "".join(
        c if c.isprintable() and c not in _UNSEEN else c.encode("unicode_escape").decode()
        for c in text
    )


class BadInput(LskelError, ValueError):
    """The input is truncated, corrupt or inconsistent."""


class BadObject(BadInput):
    """A damaged ELF file, or a BPF object that violates the rules of BTF or libbpf."""


class BadBundle(BadInput):
    """Not an lskel bundle, or a damaged one."""


class NotSupported(LskelError):
    """Valid input that lskel, or the chosen loader form, does not support."""


class LimitExceeded(NotSupported):
    """A limit of a loader form, or of the resources for an input; `actual` is the input's value."""

    def __init__(self, what: str, *, limit: int, actual: int, hint: str = "") -> None:
        super().__init__(what, hint=hint)
        self.limit = limit
        self.actual = actual


class NotFound(LskelError, LookupError):
    """A type, attach target, map, program or other name was not found."""


class UsageError(LskelError):
    """The request is inconsistent, or does not fit the object."""


# The most names that an error lists.
_MANY = 16


class UnknownName(NotFound, UsageError, KeyError, AttributeError):
    """No map, program, variable or member of this name: an attribute, a key or an option."""


def got(value: object) -> str:
    """How errors show a value of the wrong type: text as it is, otherwise the type."""
    return f"'{value}'" if isinstance(value, str) else type(value).__name__


def unknown(what: str, name: str, known: Iterable[str]) -> UnknownName:
    """The error for a name; its hint lists the known names, or if there are many, similar ones."""
    names = list(known)
    if len(names) > _MANY:
        from difflib import get_close_matches

        names = get_close_matches(name, names) or [*names[:_MANY], "..."]
    hint = f"available: {', '.join(names) or 'none'}"
    return UnknownName(f"no {what} '{name}'", hint=hint)


class NoElement(NotFound, KeyError, IndexError):
    """The map has no element with this key or index."""


class ReadOnly(UsageError, AttributeError):
    """An assignment to something that is read-only, or read-only by now."""


class OutOfRange(UsageError, OverflowError):
    """A number is out of the range of its type."""


class WrongType(UsageError, TypeError):
    """A value has the wrong Python type."""


class WrongValue(UsageError, ValueError):
    """A value has the wrong number of bytes or elements, or cannot be parsed."""


class Closed(UsageError, ValueError):
    """It is closed; another thread may have closed it during the call."""


class ReplayError(LskelError):
    """A replay failed: the kernel refused an operation of the trace.

    `errno` is positive. `op` is the index of the failed operation in the trace, `label` describes
    it, `why` is the reason; None and "" if unknown. `log` is the verifier or BTF log as lines,
    empty if none.
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
    """This process may not use bpf(2) at all."""


def interpreter_error(error: MemoryError | RecursionError) -> str:
    """The message for an error of the Python interpreter itself."""
    return "out of memory" if isinstance(error, MemoryError) else "nested too deeply"


# Hints for errnos that mean the same for every call.
_REMEDIES = {
    errno.EMFILE: "raise the process limit: ulimit -n",
    errno.ENFILE: "raise the system limit: sysctl fs.file-max",
    errno.ENOSYS: "not built into the kernel, or blocked by a sandbox",
}


def remedy(number: int) -> str:
    """The hint for an errno of any call; empty if it depends on the call."""
    return _REMEDIES.get(number, "")


@contextmanager
def at(*places: str) -> Iterator[None]:
    """Prefix any LskelError that leaves the block with `places` (outermost first).

    MemoryError and RecursionError become an LskelError.
    """
    try:
        yield
    except LskelError as error:
        error.places[:0] = places
        raise
    except (MemoryError, RecursionError) as error:
        failure = LskelError(interpreter_error(error))
        failure.places[:0] = places
        raise failure from error
