"""The flags of bpf(2), XDP and netlink.

Written by scripts/gen_bpf.py from the uapi headers of Linux 7.3; not edited by hand.
"""

# Plain integers: enum.IntFlag would make each skeleton start later.


class AttachFlag:
    """Flags of PROG_ATTACH and LINK_CREATE: BPF_F_* of uapi/linux/bpf.h."""

    ALLOW_OVERRIDE = 0x1
    ALLOW_MULTI = 0x2
    REPLACE = 0x4
    BEFORE = 0x8
    AFTER = 0x10
    ID = 0x20
    PREORDER = 0x40
    LINK = 0x2000


class ProgFlag:
    """Flags of PROG_LOAD: BPF_F_* of uapi/linux/bpf.h."""

    STRICT_ALIGNMENT = 0x1
    ANY_ALIGNMENT = 0x2
    TEST_RND_HI32 = 0x4
    TEST_STATE_FREQ = 0x8
    SLEEPABLE = 0x10
    XDP_HAS_FRAGS = 0x20
    XDP_DEV_BOUND_ONLY = 0x40
    TEST_REG_INVARIANTS = 0x80


class KprobeMultiFlag:
    """Flags of kprobe.multi: BPF_F_KPROBE_MULTI_* of uapi/linux/bpf.h."""

    RETURN = 0x1


class UprobeMultiFlag:
    """Flags of uprobe.multi: BPF_F_UPROBE_MULTI_* of uapi/linux/bpf.h."""

    RETURN = 0x1
    PATH_FD = 0x2


class NetfilterFlag:
    """Flags of netfilter links: BPF_F_NETFILTER_* of uapi/linux/bpf.h."""

    IP_DEFRAG = 0x1


class ElementFlag:
    """Flags of MAP_UPDATE_ELEM and MAP_LOOKUP_ELEM: BPF_* of uapi/linux/bpf.h."""

    ANY = 0x0
    NOEXIST = 0x1
    EXIST = 0x2
    LOCK = 0x4
    CPU = 0x8
    ALL_CPUS = 0x10


class MapFlag:
    """Flags of MAP_CREATE: BPF_F_* of uapi/linux/bpf.h."""

    NO_PREALLOC = 0x1
    NO_COMMON_LRU = 0x2
    NUMA_NODE = 0x4
    RDONLY = 0x8
    WRONLY = 0x10
    STACK_BUILD_ID = 0x20
    ZERO_SEED = 0x40
    RDONLY_PROG = 0x80
    WRONLY_PROG = 0x100
    CLONE = 0x200
    MMAPABLE = 0x400
    PRESERVE_ELEMS = 0x800
    INNER_MAP = 0x1000
    LINK = 0x2000
    PATH_FD = 0x4000
    VTYPE_BTF_OBJ_FD = 0x8000
    TOKEN_FD = 0x10000
    SEGV_ON_FAULT = 0x20000
    NO_USER_CONV = 0x40000
    RB_OVERWRITE = 0x80000


class XdpFlag:
    """Flags of attaching XDP: XDP_FLAGS_* of uapi/linux/if_link.h."""

    UPDATE_IF_NOEXIST = 0x1
    SKB_MODE = 0x2
    DRV_MODE = 0x4
    HW_MODE = 0x8
    REPLACE = 0x10


class NetlinkFlag:
    """Flags of netlink requests: NLM_F_* of uapi/linux/netlink.h."""

    REQUEST = 0x1
    MULTI = 0x2
    ACK = 0x4
    ECHO = 0x8
    DUMP_INTR = 0x10
    DUMP_FILTERED = 0x20
    ROOT = 0x100
    MATCH = 0x200
    ATOMIC = 0x400
    DUMP = 0x300
    REPLACE = 0x100
    EXCL = 0x200
    CREATE = 0x400
    APPEND = 0x800
    NONREC = 0x100
    BULK = 0x200
    CAPPED = 0x100
    ACK_TLVS = 0x200
