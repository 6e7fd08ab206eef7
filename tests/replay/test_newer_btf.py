"""Objects of compilers to come: BTF with a layout section, and with kinds that nobody knows."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

import lskel
from lskel.btf.btf import Btf
from lskel.elf.object import Elf
from lskel.runtime.info import map_info
from tests.build.btf import LAYOUT
from tests.build.clang import compile_bpf
from tests.conftest import Run
from tests.loads import Load, both

pytestmark = pytest.mark.kernel

SOURCE = """
struct value { int a; long b; };
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, int);
	__type(value, struct value);
} table SEC(".maps");
int out;
SEC("socket") int use(void *ctx) {
	struct value v = { .a = 42 }, *found;
	int key = 1;
	bpf_map_update_elem(&table, &key, &v, 0);
	found = bpf_map_lookup_elem(&table, &key);
	out = found ? found->a : -1;
	return out;
}
"""
NEWER = 21


def relaid(btf: bytes, *words: int) -> bytes:
    """The same with a layout section; `words` are types to append."""
    old = Btf(btf)
    types = btf[old.type_start : old.type_end] + struct.pack(f"<{len(words)}I", *words)
    sizes = {**LAYOUT, 20: (0, 0), NEWER: (4, 8)}
    layout = b"".join(bytes((*sizes[kind], 0, 0)) for kind in sorted(sizes))
    strings = btf[old.str_start : old.str_end]
    places = (0, len(types), len(types) + len(layout), len(strings), len(types), len(layout))
    return struct.pack("<HBBI6I", 0xEB9F, 1, 0, 32, *places) + types + layout + strings


def with_layout(directory: Path, run: Run, *words: int) -> Path:
    """The object, with its BTF relaid."""
    plain, made, btf = directory / "plain.o", directory / "newer.bpf.o", directory / "btf"
    plain.write_bytes(compile_bpf(SOURCE))
    elf = Elf(plain.read_bytes())
    section = elf.section(".BTF")
    assert section is not None
    btf.write_bytes(relaid(elf.content(section), *words))
    run("llvm-objcopy-19", f"--update-section=.BTF={btf}", plain, made)
    return made


def used(path: Path, load: Load) -> tuple[bool, int]:
    """Whether the kernel knows the types of the map, and what the program leaves behind."""
    with load(lskel.generate(lskel.open_object(path))) as bpf:
        bpf.progs["use"].run(data=bytes(64))
        return map_info(bpf.maps["table"].fileno()).btf_value_type_id != 0, bpf.bss.out


@both
def test_a_layout_section(
    load: Load, tmp_path: Path, run: Run, reference: Run, bpffs: Path
) -> None:
    """Kernels before 7.3 refuse it: it is dropped, and all types stay."""
    path = with_layout(tmp_path, run)
    reference("prog", "loadall", path, bpffs / "theirs", "pinmaps", bpffs / "maps")
    theirs = json.loads(run("bpftool", "-j", "map", "show", "pinned", bpffs / "maps" / "table"))
    assert theirs["btf_id"]
    assert used(path, load) == (True, 42)


@both
def test_newer_kinds(load: Load, tmp_path: Path, run: Run) -> None:
    """The kernel refuses them; as nothing needs BTF, the object is loaded without."""
    path = with_layout(tmp_path, run, 1, NEWER << 24 | 2, 7, 1, 2, 3, 4, 5)
    assert used(path, load) == (False, 42)
