"""What an input may cost: each limit once, with its reason.

Objects, bundles, headers and logs come from anybody. Real ones stay far below these limits; what
exceeds one is refused with an error before it has cost more than seconds, or a gigabyte.
"""

from __future__ import annotations

from lskel.errors import LimitExceeded

# -- files --------------------------------------------------------------------------------------

# Bytes of a file. A header spells the largest blob with four characters a byte.
INPUT = 256 << 20

# Bytes of a name: the kernel takes up to 512 (KSYM_NAME_LEN), and paths of 4096.
NAME = 4096
# Bytes that the strings of a table have together, as a multiple of the table's own, and besides:
# linkers let strings share their ends, but few do.
SHARED_STRINGS = 16
FEW_STRINGS = 1 << 16

# -- objects ------------------------------------------------------------------------------------

# Initial values of all maps of maps in section `maps`: those with one inner_id have all maps of
# that id.
INNER_MAPS = 1 << 16
# Code and debug information of all programs, each with a copy of the subprograms that it calls, as
# a multiple of the object's own: the most in the kernel's selftests is 4. An object of less than
# SMALL_CODE bytes may have as much as one of so many.
CODE_COPIES = 8
SMALL_CODE = 1 << 20
# Operations of a trace: each program looks up its externs anew, so that an object may ask for far
# more than it has. The kernel's selftests have up to 62.
OPERATIONS = 1 << 16

# Bytes of zeros in a data section that a loader carries, to be written as any other value; of more
# it carries none. It is far above what most sections have.
ZEROS = 1 << 20

# -- types --------------------------------------------------------------------------------------

# Types that a type's name mentions: 41 in the longest one of the Linux kernel.
NAME_MENTIONS = 500
# Types that the C definitions for one object mention: BTF whose types share parts can say more than
# fits anywhere. The longest definition in the Linux kernel mentions 2,000.
HEADER_MENTIONS = 50_000
# Python objects that one value becomes, and some more for each of its bytes: only BTF made with ill
# intent needs more (arrays of empty structs, unions of unions of unions).
VALUE_PARTS = 1 << 16
VALUE_PARTS_A_BYTE = 64
# Members of a struct, those of its anonymous members included.
MEMBERS = 1 << 16

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

# Instructions of one run: some seconds.
INSTRUCTIONS = 10_000_000
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
# Bytes of BTF that are loaded, together: as many as the kernel takes at once (BTF_MAX_SIZE,
# include/linux/btf.h). Its own has some 6 MiB.
BTF = 16 << 20

# -- what is shown ------------------------------------------------------------------------------

# Characters of a source line, and of a path: PATH_MAX of Linux. The rest is cut.
SHOWN_LINE = 4096
# Characters of a variable's type, which is cut, too: see NAME_MENTIONS.
SHOWN_TYPE = 1000
# Pairs of equal items among those that differ between two sides: with more of them, the comparison
# looks for none.
EQUAL_PAIRS = 1 << 22
# Instructions that the page of `lskel explain` has room for, of all programs.
PAGE_INSTRUCTIONS = 250_000
# Bytes of the blob that the page has room for. Of what is large it shows the beginning.
PAGE_BYTES = 2 << 20
# Runs of one byte that it looks for in the blob: more of them would cost more than they save.
PAGE_RUNS = 1 << 16


def check(amount: int, limit: int, what: str) -> None:
    """LimitExceeded where there is more of something than may be."""
    if amount > limit:
        raise LimitExceeded(f"{amount} {what}, at most {limit} allowed", limit=limit, actual=amount)


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
