"""Resource limits for inputs, each with its reason.

Objects, bundles, headers and logs are untrusted. Real ones stay far below these limits; an input
that exceeds one is refused before it costs more than seconds, or a gigabyte.
"""

from __future__ import annotations

from lskel.errors import LimitExceeded

# -- files --------------------------------------------------------------------------------------

# Bytes of a file. A header has the largest blob with four characters per byte.
INPUT = 256 << 20

# Bytes of a kernel's package when it is decompressed; each file in it is at most INPUT.
KERNEL = 768 << 20
# Files in it: kernels have up to ten thousand modules, and as many headers.
FILES = 1 << 16
# Bytes that look like BTF in an image, which has it once; each place counts as a kibibyte or more.
LOOKS_LIKE_BTF = 64 << 20
PLACE = 1 << 10
# Bytes of BTF of all modules: a distribution's thousands have some tens of megabytes.
MODULES_BTF = 128 << 20

# Bytes of a name: the kernel accepts 512 (KSYM_NAME_LEN), and paths of 4096.
NAME = 4096
# Total bytes of the strings of a table, as a multiple of the table's size, plus a constant: linkers
# merge common tails, but these are few.
SHARED_STRINGS = 16
FEW_STRINGS = 1 << 16

# -- objects ------------------------------------------------------------------------------------

# Initial values of all maps of maps in section `maps`: each has all maps of its inner_id.
INNER_MAPS = 1 << 16
# Code and debug information of all programs, with copies of subprograms, as a multiple of the
# object's: the maximum in the kernel's selftests is 4. Objects below SMALL_CODE bytes count as that
# large.
CODE_COPIES = 8
# Bytes of jump tables, as a multiple of their section: they do not overlap, unless they are alike.
JUMP_TABLES = 2
SMALL_CODE = 1 << 20
# Operations of a trace: each program looks up its externs, so there can be far more than the object
# has externs. The kernel's selftests have up to 62.
OPERATIONS = 1 << 16

# Bytes of zeros in a data section that a loader carries, to be written as any other value; of more
# it carries none. It is far above what most sections have.
ZEROS = 1 << 20

# Instructions of functions that send events. Of more, it is not found out which event goes to which
# map; the kernel accepts a million.
SENDING_CODE = 1 << 18

# -- types --------------------------------------------------------------------------------------

# Types in a type's name: up to 41 in the Linux kernel.
NAME_MENTIONS = 500
# Types in the types of all kfuncs and kernel variables of an object: functions of functions can
# expand without bounds. A kfunc of the Linux kernel has up to 30.
SHAPE_PARTS = 1 << 18
# Types and members that CO-RE relocations of an object look at: a thousand relocations of the
# Linux kernel's largest struct, of 250 members, are a quarter of a million.
CORE_WORK = 1 << 21
# What a kernel type costs of it that is looked at for a relocation.
CORE_CANDIDATE = 8
# Types in the C definitions for one object: BTF with shared types can expand without bounds. The
# longest definition in the Linux kernel mentions 2,000.
HEADER_MENTIONS = 50_000
# Python objects per value, and some more per byte: only malicious BTF needs more (arrays of empty
# structs, unions of unions of unions).
VALUE_PARTS = 1 << 16
VALUE_PARTS_A_BYTE = 64

# Attributes of debug information: a real scheduler's object has about half a million.
DWARF_ATTRIBUTES = 1 << 22
# What a unit or an entry counts as, with none of its attributes.
DWARF_ENTRY = 3
# Variables of functions that send events, with those inlined in them.
DWARF_VARIABLES = 1 << 18
# Members, array dimensions and enumerators of the types that are taken from it.
DWARF_MEMBERS = 1 << 14

# -- bundles ------------------------------------------------------------------------------------

# Bytes of lskel.json, which may have the initial value of an arena in hexadecimal.
DESCRIPTION = 32 << 20
# Values in lskel.json, about 43 per operation; each takes up to 256 bytes of memory.
VALUES = 1 << 20
# Characters of a text. Mangled symbols and section names with paths have up to some thousands.
TEXT = 1 << 17
# Bytes of insns.bin: twice the span of 16-bit jumps.
INSNS = 8 << 16
# Total bytes of references to the blob, of map values, and of regions (each): four times the
# largest blob, since programs may share bytes.
REFERENCED = 256 << 20

# -- skeletons ----------------------------------------------------------------------------------

# Members of anonymous structs and unions that become members of Python classes, in total.
LIFTED = 1 << 16
# Elements of 0 bytes of one array: ctypes keeps something for each.
EMPTY_ELEMENTS = 1 << 16

# -- one simulated kernel -----------------------------------------------------------------------

# Instructions of one run: some seconds.
INSTRUCTIONS = 10_000_000
# Helper calls, including bpf(2): about three per operation.
CALLS = 1 << 15
# Function calls, including callbacks: one per record, or per 4 KiB of an initial value.
FRAMES = 1 << 20
# Bytes of a string argument of a helper: names and lines of the kernel are shorter.
STRING = 4096
# Bytes read and written by calls: twice per byte of a map's value.
COPIED = 384 << 20
# Bytes of elements: more than twice the largest, since arrays are allocated before they are
# written.
ELEMENTS = 160 << 20
# Overhead per element: Python objects.
ELEMENT = 512
# Instructions, fds and BTF records of loaded programs: the largest of the kernel's selftests has
# 110,216.
LOADED = 1 << 20
# Total bytes of loaded BTF: the kernel's maximum per BTF_LOAD (BTF_MAX_SIZE, include/linux/btf.h).
# vmlinux has about 6 MiB.
BTF = 16 << 20

# -- what is shown ------------------------------------------------------------------------------

# Characters of a source line, and of a path (PATH_MAX of Linux). The rest is cut.
SHOWN_LINE = 4096
# Characters of a variable's type; the rest is cut: see NAME_MENTIONS.
SHOWN_TYPE = 1000
# Pairs of equal items in a range that differs: with more of them, the comparison does not align
# them.
EQUAL_PAIRS = 1 << 22
# Instructions of all programs in the page of `lskel explain`.
PAGE_INSTRUCTIONS = 250_000
# Bytes of the blob in the page. Of larger data it shows the beginning.
PAGE_BYTES = 2 << 20
# Runs of equal bytes that it searches in the blob: more would cost more than they save.
PAGE_RUNS = 1 << 16


def check(amount: int, limit: int, what: str) -> None:
    """LimitExceeded if an amount exceeds its limit."""
    if amount > limit:
        raise LimitExceeded(f"{amount} {what}, at most {limit} allowed", limit=limit, actual=amount)


class Allowance:
    """A budget that is spent in steps."""

    __slots__ = ("_limit", "_spent", "_what")

    def __init__(self, limit: int, what: str) -> None:
        self._limit = limit
        self._what = what
        self._spent = 0

    def spend(self, amount: int = 1) -> None:
        """Spend an amount; LimitExceeded if the budget is exceeded."""
        self._spent += amount
        check(self._spent, self._limit, self._what)
