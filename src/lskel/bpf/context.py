"""The context of a loader program: the binary contract with libbpf's skel_internal.h.

struct bpf_loader_ctx {u32 sz, flags, log_level, log_size; u64 log_buf}, then one struct
bpf_map_desc {int map_fd; u32 max_entries; u64 initial_value} per map, then one struct bpf_prog_desc
{int prog_fd} per program. Then, in addition to libbpf's contract, a u32 per input of the trace (a
number known on the target only), and an int for the fd of each link.

The fds are also input: a nonzero map_fd is reused instead of creating the map, and still belongs to
the caller if loading fails, and one of -1 is neither; a prog_fd of -1 disables autoload of the
program, 1 enables it.
"""

from __future__ import annotations

FLAGS = 4
LOG_LEVEL = 8
LOG_SIZE = 12
LOG_BUF = 16
HEADER_SIZE = 24
MAP_SIZE = 16
PROGRAM_SIZE = 4
INPUT_SIZE = 4
LINK_SIZE = 4

# The operation number in the blob before the first operation.
NO_OP = 0xFFFFFFFF
# Requests in prog_fd, and in map_fd.
LEAVE_OUT, LOAD = -1, 1
# Flag: initial values are in kernel memory (BPF_SKEL_KERNEL).
F_KERNEL = 1


def size(maps: int, programs: int, inputs: int = 0, links: int = 0) -> int:
    """Bytes of a context with these numbers of maps, programs, inputs and links."""
    numbers = PROGRAM_SIZE * programs + INPUT_SIZE * inputs + LINK_SIZE * links
    return HEADER_SIZE + MAP_SIZE * maps + numbers


def map_fd(slot: int) -> int:
    """Offset of a map's fd (s32), read and written by the loader."""
    return HEADER_SIZE + MAP_SIZE * slot


def max_entries(slot: int) -> int:
    """Offset of a map's max_entries (u32); nonzero overrides the map's own."""
    return map_fd(slot) + 4


def initial_value(slot: int) -> int:
    """Offset of the address (u64) of a map's initial value; 0 for that in the blob."""
    return map_fd(slot) + 8


def program_fd(maps: int, slot: int) -> int:
    """Offset of a program's fd (s32), read and written by the loader."""
    return HEADER_SIZE + MAP_SIZE * maps + PROGRAM_SIZE * slot


def input_value(maps: int, programs: int, number: int) -> int:
    """Offset of an input (u32)."""
    return size(maps, programs, number)


def link_fd(maps: int, programs: int, inputs: int, number: int) -> int:
    """Offset of a link's fd (s32), written by the loader."""
    return size(maps, programs, inputs, number)
