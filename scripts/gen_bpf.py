"""Write src/lskel/bpf/{enums,flags,helpers,layouts}.py from a kernel's BTF and uapi headers.

    python scripts/gen_bpf.py [--check] [--headers DIR] [--release X.Y] [BTF]

BTF is a file that has a kernel's: /sys/kernel/btf/vmlinux by default, or the vmlinuz of another
kernel, of release X.Y. DIR is /usr/include by default. Enums, helpers and layouts come from
BTF; flags from the headers, since BTF has no macros, and attach types that BTF lacks, since section
names stand for them. With --check nothing is written; the exit status says whether what the files
hold agrees with those: names that both know must have equal values (an older kernel lacks some, a
newer one has more).
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.btf.types import TypeId
from lskel.kernels.files import btf_of

ROOM = Path(__file__).parent.parent / "src" / "lskel" / "bpf"

# class name: (C enum, prefix to cut, what it is)
ENUMS = {
    "Cmd": ("bpf_cmd", "BPF_", "Commands of bpf(2)"),
    "MapType": ("bpf_map_type", "BPF_MAP_TYPE_", "Map types"),
    "ProgType": ("bpf_prog_type", "BPF_PROG_TYPE_", "Program types"),
    "AttachType": ("bpf_attach_type", "BPF_", "Attach types of programs"),
    "LinkType": ("bpf_link_type", "BPF_LINK_TYPE_", "Link types"),
    "PerfLinkType": ("bpf_perf_event_type", "BPF_PERF_EVENT_", "What perf links attach to"),
}
# Those that the headers' newer kernel may have more of.
NEWER = ("AttachType",)

# Python name of a struct inside `union bpf_attr`: a member that only this one has.
STRUCTS = {
    "MAP_CREATE": "map_type",
    "MAP_ELEM": "next_key",
    "BATCH": "batch",
    "PROG_LOAD": "prog_type",
    "OBJ": "pathname",
    "PROG_ATTACH": "attach_bpf_fd",
    "TEST": "test",
    "GET_ID": "start_id",
    "INFO": "info",
    "QUERY": "query",
    "RAW_TRACEPOINT": "raw_tracepoint",
    "BTF_LOAD": "btf_log_buf",
    "TASK_FD_QUERY": "task_fd_query",
    "LINK_CREATE": "link_create",
    "LINK_UPDATE": "link_update",
    "LINK_DETACH": "link_detach",
    "ENABLE_STATS": "enable_stats",
    "ITER_CREATE": "iter_create",
    "PROG_BIND_MAP": "prog_bind_map",
    "TOKEN_CREATE": "token_create",
    "PROG_STREAM_READ": "prog_stream_read",
    "PROG_ASSOC_STRUCT_OPS": "prog_assoc_struct_ops",
}
# Structs that calls take or fill besides it.
OTHERS = {
    "COMMON_ATTR": "bpf_common_attr",
    "MAP_INFO": "bpf_map_info",
    "PROG_INFO": "bpf_prog_info",
    "BTF_INFO": "bpf_btf_info",
    "LINK_INFO": "bpf_link_info",
}

# class name: (header, prefix to cut, the first of them, what they are for). They stand together: up
# to the end of an enum, or to where another begins.
FLAGS = {
    "AttachFlag": ("bpf", "BPF_F_", "BPF_F_ALLOW_OVERRIDE", "PROG_ATTACH and LINK_CREATE"),
    "ProgFlag": ("bpf", "BPF_F_", "BPF_F_STRICT_ALIGNMENT", "PROG_LOAD"),
    "KprobeMultiFlag": ("bpf", "BPF_F_KPROBE_MULTI_", "BPF_F_KPROBE_MULTI_RETURN", "kprobe.multi"),
    "UprobeMultiFlag": ("bpf", "BPF_F_UPROBE_MULTI_", "BPF_F_UPROBE_MULTI_RETURN", "uprobe.multi"),
    "NetfilterFlag": ("bpf", "BPF_F_NETFILTER_", "BPF_F_NETFILTER_IP_DEFRAG", "netfilter links"),
    "ElementFlag": ("bpf", "BPF_", "BPF_ANY", "MAP_UPDATE_ELEM and MAP_LOOKUP_ELEM"),
    "MapFlag": ("bpf", "BPF_F_", "BPF_F_NO_PREALLOC", "MAP_CREATE"),
    "XdpFlag": ("if_link", "XDP_FLAGS_", "XDP_FLAGS_UPDATE_IF_NOEXIST", "attaching XDP"),
    "NetlinkFlag": ("netlink", "NLM_F_", "NLM_F_REQUEST", "netlink requests"),
}
# Masks and repeated names among them.
_NO_FLAGS = ("MODES", "MASK")


def enum_values(btf: Btf, name: str, prefix: str) -> list[tuple[str, int]]:
    """The enumerators without prefix and without the private `__MAX_...` ones."""
    enum = btf.get(btf.require(name, t.Enum), t.Enum)
    return [
        (key.removeprefix(prefix), value)
        for key, value in enum.values
        if not key.startswith("__") and not key.startswith("MAX_")
    ]


def newer_values(headers: Path, name: str, values: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """The enumerators of NEWER that the headers have after those of BTF, by their prefix."""
    c_name, prefix, _ = ENUMS[name]
    text = (headers / "linux" / "bpf.h").read_text()
    match = re.search(rf"^enum {c_name} {{\n(.*?)^}}", text, re.DOTALL | re.MULTILINE)
    assert match is not None
    names = re.findall(rf"^\t{prefix}(\w+),$", match[1], re.MULTILINE)
    return [(key, number) for number, key in enumerate(names) if number > values[-1][1]]


def helper_names(btf: Btf) -> list[str]:
    """Helper names by id."""
    values = enum_values(btf, "bpf_func_id", "BPF_FUNC_")
    assert [number for _, number in values] == list(range(len(values)))
    return [name for name, _ in values]


def flatten(btf: Btf, type_id: TypeId, base: int = 0) -> Iterator[tuple[str, int, int]]:
    """(name, offset, size) of each field in bytes, through anonymous structs and unions."""
    composite = btf.get(btf.resolve(type_id), t.CompositeType)
    for member in composite.members:
        offset = base + member.bit_offset // 8
        inner = btf.resolve(member.type)
        if not member.name and isinstance(btf[inner], t.CompositeType):
            yield from flatten(btf, inner, offset)
        elif isinstance(btf[inner], t.CompositeType):
            for name, at, size in flatten(btf, inner, offset):
                yield f"{member.name}_{name}", at, size
        elif member.name and not member.bitfield_size:
            yield member.name, offset, btf.size_of(member.type)


def layouts(btf: Btf) -> dict[str, list[tuple[str, int, int]]]:
    """Field layouts of the structs in `union bpf_attr` and of the others."""
    attr = btf.get(btf.require("bpf_attr", t.UnionType), t.UnionType)
    found: dict[str, list[tuple[str, int, int]]] = {}
    for name, sign in STRUCTS.items():
        for member in attr.members:
            fields = list(flatten(btf, member.type))
            if member.name == sign or (
                not member.name and sign in {field for field, _, _ in fields}
            ):
                found[name] = fields
                break
    for name, c_name in OTHERS.items():
        if btf.find(c_name, t.StructType) is not None:  # the first of them is in Linux 7.0
            found[name] = list(flatten(btf, btf.require(c_name, t.StructType)))
    return found


def flag_names(headers: Path) -> dict[str, list[str]]:
    """The flags of each class, in the order of its header."""
    found: dict[str, list[str]] = {}
    for name, (header, prefix, first, _) in FLAGS.items():
        lines = (headers / "linux" / f"{header}.h").read_text().splitlines()
        others = {other for _, _, other, _ in FLAGS.values() if other != first}
        names: dict[str, None] = {}
        for line in lines:
            match = re.match(rf"(?:#define)?\s+({prefix}\w+)\s+(?:=\s*)?\S", line)
            if not names and not (match and match[1] == first):
                continue
            if line.startswith("}") or (match and match[1] in others):
                break
            if match and not match[1].endswith(_NO_FLAGS):
                names[match[1]] = None
        found[name] = list(names)
    return found


def flag_values(headers: Path) -> tuple[str, dict[str, dict[str, int]]]:
    """The headers' release, and the value of each flag, as a C compiler evaluates them."""
    found = flag_names(headers)
    names = [name for group in found.values() for name in group]
    includes = sorted({header for header, *_ in FLAGS.values()} | {"version"})
    program = "\n".join(
        [
            "#include <stdio.h>",
            *(f"#include <linux/{header}.h>" for header in includes),
            "int main(void) {",
            *(f'printf("%llu\\n", (unsigned long long)({name}));' for name in names),
            'printf("%d.%d", LINUX_VERSION_MAJOR, LINUX_VERSION_PATCHLEVEL);',
            "}",
        ]
    )
    with tempfile.TemporaryDirectory() as directory:
        command = ["gcc", "-xc", "-", "-isystem", str(headers), "-o", f"{directory}/flags"]
        subprocess.run(command, input=program, text=True, check=True)
        done = subprocess.run(f"{directory}/flags", capture_output=True, text=True, check=True)
    *values, release = done.stdout.split("\n")
    known = dict(zip(names, map(int, values), strict=True))
    return release, {
        group: {
            name.removeprefix(FLAGS[group][1]).removeprefix("F_"): known[name] for name in members
        }
        for group, members in found.items()
    }


def head(what: str, release: str, source: str = "BTF") -> list[str]:
    return [
        f'"""{what}.',
        "",
        f"Written by scripts/gen_bpf.py from the {source} of Linux {release}; not edited by hand.",
        '"""',
        "",
    ]


def render_enums(btf: Btf, release: str, headers: Path) -> str:
    lines = [*head("The enums of bpf(2)", release), "from enum import IntEnum"]
    for name, (c_name, prefix, what) in ENUMS.items():
        lines += ["", "", f"class {name}(IntEnum):", f'    """{what}: enum {c_name}."""', ""]
        values = enum_values(btf, c_name, prefix)
        lines += [f"    {key} = {value}" for key, value in values]
        newer = newer_values(headers, name, values) if name in NEWER else []
        lines += ["    # From the uapi headers."] if newer else []
        lines += [f"    {key} = {value}" for key, value in newer]
    return "\n".join(lines) + "\n"


def render_helpers(btf: Btf, release: str) -> str:
    lines = [*head("Names of the BPF helper functions by id (without `bpf_`)", release)]
    lines += ["HELPERS: tuple[str, ...] = ("]
    lines += [f'    "{name}",  # {number}' for number, name in enumerate(helper_names(btf))]
    lines += [")", "HELPER_IDS: dict[str, int] = {name: id for id, name in enumerate(HELPERS)}"]
    return "\n".join(lines) + "\n"


def render_layouts(btf: Btf, release: str) -> str:
    lines = [*head("Fields of `union bpf_attr` and of the info structs: (offset, size)", release)]
    lines += ["Layout = dict[str, tuple[int, int]]"]
    for name, fields in layouts(btf).items():
        lines += ["", f"{name}: Layout = {{"]
        lines += [f'    "{field}": ({offset}, {size}),' for field, offset, size in fields]
        lines += ["}"]
    return "\n".join(lines) + "\n"


def render_flags(headers: Path) -> str:
    release, values = flag_values(headers)
    lines = head("The flags of bpf(2), XDP and netlink", release, "uapi headers")
    # An IntFlag takes thirty times as long to make, in each skeleton that starts.
    lines += ["# Plain integers: enum.IntFlag would make each skeleton start later."]
    for name, members in values.items():
        header, prefix, _, what = FLAGS[name]
        lines += ["", "", f"class {name}:"]
        lines += [f'    """Flags of {what}: {prefix}* of uapi/linux/{header}.h."""', ""]
        lines += [f"    {key} = {value:#x}" for key, value in members.items()]
    return "\n".join(lines) + "\n"


def disagreements(btf: Btf, headers: Path) -> Iterator[str]:
    """What the committed modules and this kernel both know, and value differently."""
    enums = importlib.import_module("lskel.bpf.enums")
    for name, (c_name, prefix, _) in ENUMS.items():
        ours = getattr(enums, name).__members__
        for key, value in enum_values(btf, c_name, prefix):
            if key in ours and ours[key] != value:
                yield f"{name}.{key} is {ours[key].value}, the kernel says {value}"
    flags = importlib.import_module("lskel.bpf.flags")
    for name, members in flag_values(headers)[1].items():
        known_flags = vars(getattr(flags, name))
        for key, value in members.items():
            if known_flags.get(key, value) != value:
                yield f"{name}.{key} is {known_flags[key]:#x}, the headers say {value:#x}"
    helpers = importlib.import_module("lskel.bpf.helpers").HELPERS
    for number, (ours_name, theirs) in enumerate(zip(helpers, helper_names(btf), strict=False)):
        if ours_name != theirs:
            yield f"helper {number} is {ours_name}, the kernel says {theirs}"
    modules = importlib.import_module("lskel.bpf.layouts")
    for name, fields in layouts(btf).items():
        known = getattr(modules, name)
        for field, offset, size in fields:
            if known.get(field, (offset, size)) != (offset, size):
                yield f"{name}.{field} is {known[field]}, the kernel says {(offset, size)}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--headers", type=Path, default=Path("/usr/include"))
    running = re.match(r"\d+\.\d+", os.uname().release)
    parser.add_argument("--release", default=running.group() if running else "unknown")
    parser.add_argument("btf", nargs="?", type=Path, default=Path("/sys/kernel/btf/vmlinux"))
    args = parser.parse_args()
    btf = Btf(btf_of(args.btf.read_bytes()))
    if args.check:
        wrong = list(disagreements(btf, args.headers))
        print("\n".join(wrong) or "no disagreement")
        return 1 if wrong else 0
    release = args.release
    (ROOM / "enums.py").write_text(render_enums(btf, release, args.headers))
    (ROOM / "flags.py").write_text(render_flags(args.headers))
    (ROOM / "helpers.py").write_text(render_helpers(btf, release))
    (ROOM / "layouts.py").write_text(render_layouts(btf, release))
    return 0


if __name__ == "__main__":
    sys.exit(main())
