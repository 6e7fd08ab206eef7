"""Arenas: variables, pages, addresses, failures, pins."""

from __future__ import annotations

import ctypes
import gc
import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

import lskel
from lskel.bpf.enums import MapType
from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.btf.kinds import Kind
from lskel.errors import BadObject, NoPermission, NotSupported, ReplayError, UsageError
from lskel.loader.model import Loader
from lskel.replay.options import Options
from lskel.runtime import kernel
from lskel.runtime.memory import map_memory
from lskel.runtime.syscall import BpfError, KernelError
from tests.build.clang import compile_bpf
from tests.conftest import lacking
from tests.loads import Load, both, load_by_loader
from tests.runtime.programs import create_map, kernel_btf, run_program

pytestmark = pytest.mark.kernel

ARENA = """
#define __arena __attribute__((address_space(1)))
#ifndef PAGES
#define PAGES 10
#endif
#ifndef FLAGS
#define FLAGS BPF_F_MMAPABLE
#endif
#ifndef MORE
#define MORE
#endif
struct { __uint(type, 33); __uint(map_flags, FLAGS); __uint(max_entries, PAGES); MORE }
    arena SEC(".maps");
"""
SOURCE = (
    ARENA
    + """
extern void __arena *bpf_arena_alloc_pages(void *map, void __arena *address, __u32 pages, int node,
                                           __u64 flags) __attribute__((section(".ksyms")));
long __arena calls = 7;
long __arena table[4] = {1, 2, 3, 4};
long __arena * __arena link;
char __arena * __arena page;
static long __arena hidden = 9;
long __arena zero;
SEC("syscall") int work(void *ctx)
{
    calls += hidden; hidden++; zero--; table[2] += table[3];
    if (!page) page = bpf_arena_alloc_pages(&arena, 0, 2, -1, 0);
    if (!page) return -1;
    page[5]++;
    link = &table[1];
    return *link;
}
"""
)
ULONG = "enum {{ address_value = {}ull }} map_extra;"
AT = 1 << 44
BAD = SOURCE + 'SEC("socket") int bad(struct __sk_buff *s) { return *(int *)(long)s->len; }'


@pytest.fixture(autouse=True)
def _arenas_are_known() -> None:
    if kernel_btf().find_kind("bpf_arena_alloc_pages", Kind.FUNC) is None:
        lacking("this kernel has no arenas: they need Linux 6.9")


def mapped() -> list[str]:
    """What of the kernel's maps is mapped into this process."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return [line.split()[0] for line in lines if "bpf-map" in line]


@pytest.fixture(autouse=True)
def _nothing_left_mapped(_arenas_are_known: None) -> Iterator[None]:
    yield
    if mapped():
        gc.collect()
    assert not mapped()


def places(loader: Loader) -> dict[str, int]:
    """Where the variables lie, as BTF says."""
    assert loader.trace.btf is not None
    btf = Btf(loader.trace.btf)
    datasec = btf.get(btf.find(".addr_space.1", t.Datasec) or t.VOID, t.Datasec)
    return {btf.get(v.type, t.Var).name: v.offset for v in datasec.vars}


def loader_of(source: str = SOURCE, **defines: object) -> Loader:
    options = [f"-D{name}={value}" for name, value in defines.items()]
    return lskel.generate(lskel.open_object(compile_bpf(source, *options), name="test"))


@both
def test_variables_and_pages(load: Load) -> None:
    loader = loader_of()
    at = places(loader)
    with load(loader) as bpf:
        arena = bpf.maps["arena"]
        memory = arena.memory
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        assert mapped() == [f"{start:x}-{start + 10 * mmap.PAGESIZE:x}"]
        assert (arena.info().type, arena.info().max_entries) == (33, 10)
        assert memory.nbytes == 10 * mmap.PAGESIZE and not memory.readonly
        assert list(bpf.arena.table) == [1, 2, 3, 4]
        assert bpf.arena.hidden == 9 and bpf.arena.zero == 0
        work = bpf.progs["work"]
        assert work.info().btf_id
        assert run_program(work) == 2
        assert bpf.arena.calls == 16 and bpf.arena.hidden == 10
        assert list(bpf.arena.table) == [1, 2, 7, 4] and bpf.arena.zero == -1
        for name in ("calls", "hidden", "zero", "link", "page"):
            assert struct.unpack_from("=q", memory, at[name]) == (getattr(bpf.arena, name),)
        assert struct.unpack_from("=4q", memory, at["table"]) == (1, 2, 7, 4)
        # Programs store addresses of this process; the first page holds the variables.
        link, page = bpf.arena.link, bpf.arena.page
        assert struct.unpack_from("=q", memory, link - start) == (2,)
        assert start < page <= start + 8 * mmap.PAGESIZE and page % mmap.PAGESIZE == 0
        assert bytes(memory[page - start :][:8]) == bytes((0, 0, 0, 0, 0, 1, 0, 0))
        # What is written here is read there.
        memory[page - start + 5] = 41
        struct.pack_into("=q", memory, link - start, 1234)
        assert run_program(work) == 1234
        assert memory[page - start + 5] == 42


@both
def test_close_unmaps(load: Load) -> None:
    bpf = load(loader_of())
    memory = bpf.maps["arena"].memory
    part = memory[8:16]
    assert len(mapped()) == 1
    bpf.close()
    bpf.close()
    with pytest.raises(ValueError, match="released"):
        memory[0]
    # Nobody is left with an address where there is nothing.
    assert len(mapped()) == 1 and part[0] == 1
    part.release()
    assert not mapped()


@both
def test_at_an_address_of_its_own(load: Load) -> None:
    loader = loader_of(MORE=ULONG.format(hex(AT)))
    with load(loader) as bpf:
        assert bpf.maps["arena"].info().map_extra == AT
        assert mapped() == [f"{AT:x}-{AT + 10 * mmap.PAGESIZE:x}"]
        assert run_program(bpf.progs["work"]) == 2
        assert AT < bpf.arena.link < AT + mmap.PAGESIZE
        # Another one does not take its place.
        with pytest.raises(ReplayError, match="mmap of map 'arena' at 0x100000000000: EEXIST"):
            load(loader)
        assert run_program(bpf.progs["work"]) == 2
    load(loader).close()


@both
def test_size_that_is_asked_for(load: Load) -> None:
    with load(loader_of(), Options(max_entries={"arena": 3})) as bpf:
        assert bpf.maps["arena"].info().max_entries == 3
        assert bpf.maps["arena"].memory.nbytes == 3 * mmap.PAGESIZE
        assert run_program(bpf.progs["work"]) == 2


@both
def test_without_variables(load: Load) -> None:
    source = ARENA + 'SEC("syscall") int p(void *c) { asm volatile(""::"r"(&arena)); return 3; }'
    with load(loader_of(source, PAGES=1 << 20, FLAGS="(BPF_F_MMAPABLE | 1 << 17)")) as bpf:
        assert bpf.maps["arena"].memory.nbytes == 1 << 32
        assert run_program(bpf.progs["p"]) == 3


@both
def test_failing_load_unmaps(load: Load) -> None:
    for more in ("", ULONG.format(hex(AT))):
        with pytest.raises(ReplayError, match="program 'bad': EACCES") as caught:
            load(loader_of(BAD, MORE=more))
        assert caught.value.log
        del caught
        assert not mapped()


REFUSED = {
    "pages": (
        {"source": SOURCE + "char __arena big[50000];"},
        UsageError,
        r"'arena': 50072 bytes of variables do not fit into 10 pages .* 13 or more",
    ),
    "fault": (
        {"FLAGS": "(BPF_F_MMAPABLE | 1 << 17)"},
        UsageError,
        r"'arena' has variables, but user space cannot write them \(BPF_F_SEGV_ON_FAULT\)",
    ),
    "flags": (
        {"FLAGS": "0"},
        ReplayError,
        r"test: BPF_MAP_CREATE of map 'arena': EINVAL: .* \(arenas need Linux 6.9, the flag",
    ),
    "large": ({"PAGES": "(1 << 20) + 1"}, ReplayError, r"E2BIG: .*an arena has at most 4 GiB"),
    "boundary": (
        {"MORE": ULONG.format(hex(AT - mmap.PAGESIZE))},
        ReplayError,
        r"ERANGE: .*must not cross a 4 GiB boundary",
    ),
}


@both
@pytest.mark.parametrize("case", REFUSED)
def test_refused(load: Load, case: str) -> None:
    defines, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        load(loader_of(**defines))


def test_no_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(cmd: int, attr: bytearray) -> int:
        raise BpfError(cmd, 1)

    monkeypatch.setattr(kernel, "bpf", refuse)
    with pytest.raises(NoPermission, match="BPF_MAP_CREATE of map 'arena': EPERM"):
        load_by_loader(loader_of())


def test_addresses_in_variables() -> None:
    source = ARENA + (
        "int __arena a; int __arena * __arena pointer = &a;"
        'SEC("syscall") int p(void *c) { return *pointer; }'
    )
    with pytest.raises(NotSupported, match=r"at 0x\d is initialized with the address of 'a'"):
        loader_of(source)


def test_variables_without_one_arena() -> None:
    use = 'SEC("syscall") int p(void *c) { return a; }'
    none = "#define __arena __attribute__((address_space(1)))\nint __arena a;"
    two = ARENA + ARENA.replace("arena SEC", "other SEC") + "int __arena a;"
    for source, count in ((none, 0), (two, 2)):
        with pytest.raises(BadObject, match=f"section .addr_space.1: .* one arena, got {count}"):
            loader_of(source + use)


@both
def test_pinned(load: Load, bpffs: Path) -> None:
    options = Options(pin_root=bpffs)
    pinned = "__uint(pinning, LIBBPF_PIN_BY_NAME);"
    with load(loader_of(MORE=pinned), options) as one:
        assert run_program(one.progs["work"]) == 2
        with load(loader_of(MORE=pinned), options) as other:
            assert other.maps["arena"].info() == one.maps["arena"].info()
            with pytest.raises(UsageError, match="is not mapped"):
                _ = other.maps["arena"].memory
            assert run_program(other.progs["work"]) == 2
        # Its variables were not written anew.
        assert one.arena.calls == 7 + 9 + 10
    (bpffs / "arena").unlink()
    loader = loader_of(MORE=pinned + ULONG.format(hex(AT)))
    with load(loader, options) as one:
        assert run_program(one.progs["work"]) == 2
        number = one.maps["arena"].info().id
    with load(loader, options) as other:
        assert other.maps["arena"].info().id == number
        assert other.arena.calls == 7 + 9
        assert run_program(other.progs["work"]) == 2


def test_bundle_keeps_arenas(tmp_path: Path) -> None:
    loader_of().save(tmp_path / "test.lskel")
    with load_by_loader(Loader.load(tmp_path / "test.lskel")) as bpf:
        assert run_program(bpf.progs["work"]) == 2
        assert bpf.arena.calls == 16


def test_map_memory_of_an_array() -> None:
    array_type = MapType.ARRAY
    with (
        create_map(array_type, 4, 8, 3, flags=1 << 10) as array,
        create_map(array_type, 4, 8, 3) as plain,
    ):
        with map_memory(array.fileno(), 24) as view:
            assert view.fileno() != array.fileno() and view.memory.nbytes == 24
            assert len(mapped()) == 1
            with pytest.raises(KernelError, match="mmap: EEXIST"):
                map_memory(array.fileno(), 24, view.address)
        with pytest.raises(KernelError, match=r"mmap: E\w+"):
            map_memory(plain.fileno(), 24)
