"""What the kernel reports about maps, programs, BTF and links."""

from __future__ import annotations

from struct import calcsize, iter_unpack

from lskel.bpf.enums import AttachType, LinkType
from lskel.bpf.layouts import BTF_INFO, LINK_INFO, MAP_INFO, PROG_INFO
from lskel.light_typing import NamedTuple
from lskel.runtime.objects import field_in, number_in, read_info, text_in
from lskel.runtime.syscall import address_of, bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from lskel.runtime.objects import Bpf

# Names of modules; the kernel truncates at 127.
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

    `details` has the fields of that type, by their names in C, as far as the kernel has them: texts
    (``tp_name``, ``func_name``, ``path``), tuples (``addrs``, ``offsets``, ``cookies``), numbers;
    ``attach_type`` is an `AttachType`. Those of a perf link are of its ``perf_event_type`` (enum
    bpf_perf_event_type, Linux 6.6): uprobe, kprobe, tracepoint or event. Addresses in the kernel
    are 0 if this process must not see them. ``missed`` counts the missed runs of kprobes and their
    return probes, by perf links and by kprobe.multi, since Linux 6.7 (Documentation/trace/
    kprobes.rst says when there are any).
    """

    id: int
    type: int
    prog_id: int
    details: Mapping[str, int | str | tuple[int, ...]]


# Pointers in LINK_INFO to texts and to numbers, and the fields with the sizes of their buffers.
_TEXTS = {
    "raw_tracepoint_tp_name": "raw_tracepoint_tp_name_len",
    "iter_target_name": "iter_target_name_len",
    "perf_event_uprobe_file_name": "perf_event_uprobe_name_len",
    "perf_event_kprobe_func_name": "perf_event_kprobe_name_len",
    "perf_event_tracepoint_tp_name": "perf_event_tracepoint_name_len",
    "uprobe_multi_path": "uprobe_multi_path_size",
}
_ARRAYS = {
    "kprobe_multi_addrs": "kprobe_multi_count",
    "kprobe_multi_cookies": "kprobe_multi_count",
    "uprobe_multi_offsets": "uprobe_multi_count",
    "uprobe_multi_ref_ctr_offsets": "uprobe_multi_count",
    "uprobe_multi_cookies": "uprobe_multi_count",
    "tracing_multi_ids": "tracing_multi_count",
    "tracing_multi_addrs": "tracing_multi_count",
    "tracing_multi_cookies": "tracing_multi_count",
}
# Formats (struct) of their numbers, if these are not u64s.
_FORMATS = {"tracing_multi_ids": "I"}
# The part of a perf link, by enum bpf_perf_event_type.
_PERF_PARTS = ("", "uprobe_", "uprobe_", "kprobe_", "kprobe_", "tracepoint_", "event_")
# The parts of iterators besides the name, by their targets.
_ITER_PARTS = {
    "iter_map_": ("bpf_map_elem", "bpf_sk_storage_map", "sockmap"),
    "iter_cgroup_": ("cgroup",),
    "iter_task_": ("task", "task_file", "task_vma"),
}
# PATH_MAX; names of functions are shorter.
_TEXT_ROOM = 4096


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
    fields = _link_fields(info)
    buffers: dict[str, bytearray] = {}
    sizes: dict[str, int] = {}
    for name in fields:
        if name in _TEXTS and _TEXTS[name] in fields:
            buffers[name], sizes[_TEXTS[name]] = bytearray(_TEXT_ROOM), _TEXT_ROOM
        elif name in _ARRAYS and (count := number_in(info, LINK_INFO, _ARRAYS[name])):
            item = calcsize(_FORMATS.get(name, "Q"))
            buffers[name], sizes[_ARRAYS[name]] = bytearray(item * count), count
    if buffers:
        pointers = {name: address_of(buffer) for name, buffer in buffers.items()}
        info = read_info(fd, LINK_INFO, bpf, **pointers, **sizes)
    details: dict[str, int | str | tuple[int, ...]] = {}
    for name, short in fields.items():
        if name in _ARRAYS:
            numbers = iter_unpack(_FORMATS.get(name, "Q"), buffers.get(name, b""))
            details[short] = tuple(number for (number,) in numbers)
        elif name in buffers:
            details[short] = text_in(buffers[name])
        elif name not in _TEXTS and name not in _TEXTS.values():
            details[short] = _link_number(info, name)
    if "target_name" in details:
        target = details["target_name"]
        others = tuple(part for part, targets in _ITER_PARTS.items() if target not in targets)
        for name in filter(lambda name: name.startswith(others), fields):
            del details[fields[name]]
    return LinkInfo(
        number_in(info, LINK_INFO, "id"),
        number_in(info, LINK_INFO, "type"),
        number_in(info, LINK_INFO, "prog_id"),
        details,
    )


def _link_fields(info: bytearray) -> dict[str, str]:
    """The fields of LINK_INFO for the link's type, as far as the kernel has them: names in C.

    The kernel refuses values in fields that it does not have.
    """
    known = [name for name, place in LINK_INFO.items() if sum(place) <= len(info)]
    kind = number_in(info, LINK_INFO, "type")
    fields: dict[str, str] = {}
    if kind not in LinkType._value2member_map_:
        return fields
    prefix = _prefix(LinkType(kind))
    parts: tuple[str, ...] = (prefix,)
    # TRACING_MULTI begins like TRACING.
    longer = tuple(map(_prefix, LinkType))
    longer = tuple(other for other in longer if other.startswith(prefix) and other != prefix)
    known = [name for name in known if not name.startswith(longer)]
    if kind == LinkType.ITER:
        parts = (*_ITER_PARTS, prefix)
    elif kind == LinkType.PERF_EVENT and "perf_event_type" in known:
        fields["perf_event_type"] = "perf_event_type"
        number = number_in(info, LINK_INFO, "perf_event_type")
        parts = (prefix + _PERF_PARTS[number],) if 0 < number < len(_PERF_PARTS) else ()
    for name in known:
        part = next((part for part in parts if name.startswith(part)), None)
        if part is not None:
            fields.setdefault(name, name.removeprefix(part))
    return fields


def _prefix(kind: LinkType) -> str:
    return f"{kind.name.lower()}_"


def _link_number(info: bytearray, name: str) -> int:
    number = number_in(info, LINK_INFO, name)
    if name.endswith("_attach_type") and number in AttachType._value2member_map_:
        return AttachType(number)
    if name == "netfilter_priority" and number >> 31:  # the only one with a sign
        return number - (1 << 32)
    return number
