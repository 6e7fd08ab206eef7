"""Names of the flags of maps: uapi/linux/bpf.h, "flags for BPF_MAP_CREATE command"."""

from __future__ import annotations

# In the order of their bits, from bit 0 on.
MAP_FLAGS = (
    "no_prealloc",
    "no_common_lru",
    "numa_node",
    "rdonly",
    "wronly",
    "stack_build_id",
    "zero_seed",
    "rdonly_prog",
    "wronly_prog",
    "clone",
    "mmapable",
    "preserve_elems",
    "inner_map",
    "link",
    "path_fd",
    "vtype_btf_obj_fd",
    "token_fd",
    "segv_on_fault",
    "no_user_conv",
)


def map_flags(flags: int) -> tuple[str, ...]:
    """The names of the bits set (BPF_F_..., in lower case), and what is left as one number."""
    names = tuple(name for bit, name in enumerate(MAP_FLAGS) if flags >> bit & 1)
    rest = flags >> len(MAP_FLAGS) << len(MAP_FLAGS)
    return (*names, f"{rest:#x}") if rest else names
