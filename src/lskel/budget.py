"""What an input may cost: each limit once, with its reason.

Objects, bundles, headers and logs come from anybody. Real ones stay far below these limits; what
exceeds one is refused with an error before it has cost more than seconds, or a gigabyte.
"""

from __future__ import annotations

from lskel.errors import LimitExceeded

# -- files --------------------------------------------------------------------------------------

# Bytes of a file. A header spells the largest blob with four characters a byte.
INPUT = 256 << 20

# -- bundles ------------------------------------------------------------------------------------

# Bytes of lskel.json, which may hold the initial value of an arena in hexadecimal.
DESCRIPTION = 32 << 20
# Values in lskel.json, some 43 an operation; each takes up to a quarter of a kilobyte of memory.
VALUES = 1 << 20
# Characters of a text. Mangled symbols and sections' names with paths run to some thousands.
TEXT = 1 << 17
# Bytes of insns.bin: twice what jumps of 16 bits span.
INSNS = 8 << 16
# Bytes that references to the blob, values of maps, and regions may have, each of the three: four
# times the largest blob, since programs may share their bytes.
REFERENCED = 256 << 20

# -- skeletons ----------------------------------------------------------------------------------

# Members of anonymous structs and unions that a Python class has as its own, of all its classes.
LIFTED = 1 << 16

# -- one simulated kernel -----------------------------------------------------------------------

# Calls of helpers, bpf(2) among them: some three an operation.
CALLS = 1 << 15
# Calls of functions, callbacks included: one a record, or for each 4 KiB of an initial value.
FRAMES = 1 << 20
# Bytes of a string that a helper gets: the kernel's names are shorter, and its lines.
STRING = 4096
# Bytes read and written by calls: twice for each byte of a map's value.
COPIED = 384 << 20
# Bytes of elements: twice the largest, since an array's are made before they are written, and more.
ELEMENTS = 160 << 20
# What an element costs besides its bytes: Python's objects.
ELEMENT = 512
# Instructions, fds and BTF records of programs that are loaded: the largest of the kernel's
# selftests has 110,216.
LOADED = 1 << 20
# Bytes of BTF that are loaded. The kernel's own has some 6 MiB.
BTF = 16 << 20


def check(amount: int, limit: int, what: str) -> None:
    """LimitExceeded where there is more of something than may be."""
    if amount > limit:
        raise LimitExceeded(f"{amount} {what} are more than {limit}", limit=limit, actual=amount)


class Allowance:
    """An amount of something that is spent bit by bit."""

    __slots__ = ("_limit", "_spent", "_what")

    def __init__(self, limit: int, what: str) -> None:
        self._limit = limit
        self._what = what
        self._spent = 0

    def spend(self, amount: int = 1) -> None:
        """Take this much; LimitExceeded where there is not so much left."""
        self._spent += amount
        check(self._spent, self._limit, self._what)
