"""What the kernel reports about maps, programs, BTF and links."""

from __future__ import annotations

from lskel.bpf.enums import LinkType, PerfLinkType
from lskel.bpf.layouts import BTF_INFO, LINK_INFO, MAP_INFO, PROG_INFO
from lskel.light_typing import NamedTuple
from lskel.runtime.objects import field_in, number_in, read_info, text_in
from lskel.runtime.syscall import address_of, bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lskel.runtime.objects import Bpf

# Names of tracepoints, functions, iterators and modules; the kernel truncates at 127.
_NAME_ROOM = 128


class MapInfo(NamedTuple):
    """`struct bpf_map_info`. `type` is a `MapType`; sizes in bytes; ids are 0 if unset."""

    id: int
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    name: str
    ifindex: int
    btf_id: int
    btf_key_type_id: int
    btf_value_type_id: int
    btf_vmlinux_value_type_id: int
    map_extra: int


class ProgInfo(NamedTuple):
    """`struct bpf_prog_info`. `type` is a `ProgType`; lengths in bytes; `tag` is hexadecimal.

    `xlated` holds the translated instructions if requested, and if the kernel may show them.
    `run_time_ns` and `run_cnt` are 0 unless kernel statistics are enabled.
    """

    id: int
    type: int
    name: str
    tag: str
    xlated_len: int
    jited_len: int
    created_by_uid: int
    load_time_ns: int
    map_ids: tuple[int, ...]
    ifindex: int
    btf_id: int
    run_time_ns: int
    run_cnt: int
    verified_insns: int
    attach_btf_obj_id: int
    attach_btf_id: int
    xlated: bytes


class BtfInfo(NamedTuple):
    """`struct bpf_btf_info`. `name` is "vmlinux", a module's name, or "" for a program's BTF.

    `data` holds the BTF itself if requested; `size` is its length.
    """

    id: int
    name: str
    kernel: bool
    size: int
    data: bytes


class LinkInfo(NamedTuple):
    """`struct bpf_link_info`. `type` is a `LinkType`.

    `name` is that of the tracepoint, function or iterator, if the link type has one; `attach_type`
    is set for tracing links, `ifindex` for XDP; else both are 0. `missed` counts the runs that were
    missed: of kprobes and their return probes, by perf links and by kprobe.multi, since Linux 6.7
    (Documentation/trace/kprobes.rst says when); else None.
    """

    id: int
    type: int
    prog_id: int
    name: str
    attach_type: int
    ifindex: int
    missed: int | None = None


# Fields of (name, length of its buffer), by link type. Perf links have them since 6.6.
_LINK_NAMES = {
    LinkType.RAW_TRACEPOINT: ("raw_tracepoint_tp_name", "raw_tracepoint_tp_name_len"),
    LinkType.ITER: ("iter_target_name", "iter_target_name_len"),
    LinkType.PERF_EVENT: ("perf_event_tracepoint_tp_name", "perf_event_tracepoint_name_len"),
}
# Linux 6.7 has this and all other counters of missed runs (kernel/trace/bpf_trace.c).
_HAS_MISSED = sum(LINK_INFO["perf_event_kprobe_missed"])
_KPROBES = (PerfLinkType.KPROBE, PerfLinkType.KRETPROBE)


def map_info(fd: int, *, bpf: Bpf = bpf) -> MapInfo:
    """What the kernel reports about a map."""
    info = read_info(fd, MAP_INFO, bpf)
    return MapInfo(
        id=number_in(info, MAP_INFO, "id"),
        type=number_in(info, MAP_INFO, "type"),
        key_size=number_in(info, MAP_INFO, "key_size"),
        value_size=number_in(info, MAP_INFO, "value_size"),
        max_entries=number_in(info, MAP_INFO, "max_entries"),
        flags=number_in(info, MAP_INFO, "map_flags"),
        name=text_in(field_in(info, MAP_INFO, "name")),
        ifindex=number_in(info, MAP_INFO, "ifindex"),
        btf_id=number_in(info, MAP_INFO, "btf_id"),
        btf_key_type_id=number_in(info, MAP_INFO, "btf_key_type_id"),
        btf_value_type_id=number_in(info, MAP_INFO, "btf_value_type_id"),
        btf_vmlinux_value_type_id=number_in(info, MAP_INFO, "btf_vmlinux_value_type_id"),
        map_extra=number_in(info, MAP_INFO, "map_extra"),
    )


def prog_info(fd: int, *, xlated: bool = False, bpf: Bpf = bpf) -> ProgInfo:
    """What the kernel reports about a program, with its translated instructions if `xlated`."""
    sizes = read_info(fd, PROG_INFO, bpf)
    ids = bytearray(4 * number_in(sizes, PROG_INFO, "nr_map_ids"))
    code = bytearray(number_in(sizes, PROG_INFO, "xlated_prog_len") if xlated else 0)
    info = read_info(
        fd,
        PROG_INFO,
        bpf,
        nr_map_ids=len(ids) // 4,
        map_ids=address_of(ids),
        xlated_prog_len=len(code),
        xlated_prog_insns=address_of(code),
    )
    # The kernel clears the pointer instead of filling the buffer if it must not show the code.
    shown = code if number_in(info, PROG_INFO, "xlated_prog_insns") else b""
    return ProgInfo(
        id=number_in(info, PROG_INFO, "id"),
        type=number_in(info, PROG_INFO, "type"),
        name=text_in(field_in(info, PROG_INFO, "name")),
        tag=field_in(info, PROG_INFO, "tag").hex(),
        xlated_len=number_in(info, PROG_INFO, "xlated_prog_len"),
        jited_len=number_in(info, PROG_INFO, "jited_prog_len"),
        created_by_uid=number_in(info, PROG_INFO, "created_by_uid"),
        load_time_ns=number_in(info, PROG_INFO, "load_time"),
        map_ids=tuple(memoryview(ids).cast("I")),
        ifindex=number_in(info, PROG_INFO, "ifindex"),
        btf_id=number_in(info, PROG_INFO, "btf_id"),
        run_time_ns=number_in(info, PROG_INFO, "run_time_ns"),
        run_cnt=number_in(info, PROG_INFO, "run_cnt"),
        verified_insns=number_in(info, PROG_INFO, "verified_insns"),
        attach_btf_obj_id=number_in(info, PROG_INFO, "attach_btf_obj_id"),
        attach_btf_id=number_in(info, PROG_INFO, "attach_btf_id"),
        xlated=bytes(shown),
    )


def btf_info(fd: int, *, data: bool = False) -> BtfInfo:
    """What the kernel reports about a BTF object, with its bytes if `data`."""
    content = bytearray(number_in(read_info(fd, BTF_INFO), BTF_INFO, "btf_size") if data else 0)
    name = bytearray(_NAME_ROOM)
    info = read_info(
        fd,
        BTF_INFO,
        btf=address_of(content),
        btf_size=len(content),
        name=address_of(name),
        name_len=len(name),
    )
    return BtfInfo(
        id=number_in(info, BTF_INFO, "id"),
        name=text_in(name),
        kernel=bool(number_in(info, BTF_INFO, "kernel_btf")),
        size=number_in(info, BTF_INFO, "btf_size"),
        data=bytes(content),
    )


def link_info(fd: int) -> LinkInfo:
    """What the kernel reports about a link."""
    info = read_info(fd, LINK_INFO)
    link_type = number_in(info, LINK_INFO, "type")
    return LinkInfo(
        id=number_in(info, LINK_INFO, "id"),
        type=link_type,
        prog_id=number_in(info, LINK_INFO, "prog_id"),
        name=_link_name(fd, link_type, len(info)),
        attach_type=number_in(info, LINK_INFO, "tracing_attach_type")
        if link_type == LinkType.TRACING
        else 0,
        ifindex=number_in(info, LINK_INFO, "xdp_ifindex") if link_type == LinkType.XDP else 0,
        missed=_missed(info, link_type),
    )


def _missed(info: bytearray, link_type: int) -> int | None:
    if len(info) < _HAS_MISSED:
        return None
    if link_type == LinkType.KPROBE_MULTI:
        return number_in(info, LINK_INFO, "kprobe_multi_missed")
    perf_type = number_in(info, LINK_INFO, "perf_event_type")
    if link_type == LinkType.PERF_EVENT and perf_type in _KPROBES:
        return number_in(info, LINK_INFO, "perf_event_kprobe_missed")
    return None


def _link_name(fd: int, link_type: int, known: int) -> str:
    """`known` is the size of the kernel's info struct: it refuses anything longer."""
    if link_type not in _LINK_NAMES:
        return ""
    pointer, length = _LINK_NAMES[LinkType(link_type)]
    if known < sum(LINK_INFO[length]):
        return ""
    name = bytearray(_NAME_ROOM)
    read_info(fd, LINK_INFO, bpf, **{pointer: address_of(name), length: len(name)})
    return text_in(name)
