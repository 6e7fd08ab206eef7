"""Maps that are pinned by name: shared, refused, made; among loads of lskel and with libbpf."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lskel
from lskel.bpf.enums import MapType, ProgType
from lskel.errors import NoPermission, UsageError
from lskel.loader.model import Loader
from lskel.replay.kernel import LoaderKernel
from lskel.replay.load import open_loader
from lskel.replay.options import Options
from lskel.runtime import pins
from lskel.runtime.bpffs import is_on_bpffs
from lskel.runtime.image import Image
from lskel.runtime.info import map_info
from lskel.runtime.objects import obj_get, obj_pin
from lskel.runtime.one_element import lookup, update
from lskel.runtime.request import LoadedFds, Request
from lskel.runtime.syscall import BpfError
from tests import corpus
from tests.build.clang import compile_bpf
from tests.conftest import Run
from tests.loads import Load, both, load_by_loader, load_directly
from tests.runtime.programs import create_map, load_program, returns, run_program

pytestmark = pytest.mark.kernel

LOADS = (load_by_loader, load_directly)

KEY = bytes(4)
SOURCE = """
#define MAP(name, kind, n, extra) struct { __uint(type, kind); __uint(max_entries, n); \\
    __uint(key_size, 4); __uint(value_size, 8); extra } name SEC(".maps")
#define PINNED __uint(pinning, LIBBPF_PIN_BY_NAME);
MAP(own, BPF_MAP_TYPE_HASH, 3, );
MAP(first, BPF_MAP_TYPE_ARRAY, 10, PINNED);
MAP(second, BPF_MAP_TYPE_HASH, 20, PINNED __uint(map_flags, BPF_F_NO_PREALLOC););
int calls = 5;
SEC("raw_tp/sys_enter") int count(void *ctx)
{
    int key = 0; long *value = bpf_map_lookup_elem(&first, &key);
    if (!value || bpf_map_lookup_elem(&own, &key) || bpf_map_lookup_elem(&second, &key)) return 1;
    *value += calls;
    return 0;
}
"""
# The verifier refuses it.
BAD = SOURCE + 'SEC("socket") int bad(struct __sk_buff *s) { return *(int *)(long)s->len; }'


def loader_of(source: str = SOURCE) -> Loader:
    return lskel.generate(lskel.open_object(compile_bpf(source), name="test"))


def names(directory: Path) -> set[str]:
    """What is pinned; bpffs has two files of its own."""
    return {path.name for path in directory.iterdir()} - {"maps.debug", "progs.debug"}


@both
def test_second_load_shares_maps(load: Load, bpffs: Path) -> None:
    root = bpffs / "deep" / "er"
    options = Options(pin_root=root)
    with load(loader_of(), options) as one:
        assert names(root) == {"first", "second"}
        with load(loader_of(), options) as other:
            for name in ("first", "second"):
                assert one.maps[name].info() == other.maps[name].info()
            for name in ("own", "test.data"):
                assert one.maps[name].info().id != other.maps[name].info().id
            for bpf in (one, other, one):
                assert run_program(bpf.progs["count"]) == 0
            assert lookup(one.maps["first"].fileno(), KEY, 8) == (15).to_bytes(8, "little")
    # They outlive their loads; what was not pinned does not.
    with load(loader_of(), options) as third:
        assert run_program(third.progs["count"]) == 0
        assert lookup(third.maps["first"].fileno(), KEY, 8) == (20).to_bytes(8, "little")


@both
def test_pins_that_are_there_and_pins_that_are_not(load: Load, bpffs: Path) -> None:
    with create_map(MapType.ARRAY, 4, 8, 10) as mine:
        update(mine.fileno(), KEY, b"contents")
        obj_pin(mine.fileno(), bpffs / "first")
        with load(loader_of(), Options(pin_root=bpffs)) as bpf:
            assert bpf.maps["first"].info() == map_info(mine.fileno())
            assert lookup(bpf.maps["first"].fileno(), KEY, 8) == b"contents"
            with obj_get(bpffs / "second") as second:
                assert bpf.maps["second"].info() == map_info(second.fileno())


# Attributes of a map that is pinned as "first", and what makes it another one than the object's.
OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "same": ({}, ""),
    "type": ({"map_type": MapType.PERCPU_ARRAY}, "type array, pinned percpu_array"),
    "key": (
        {"map_type": MapType.HASH, "key_size": 8},
        "type array, pinned hash; key_size 4, pinned 8",
    ),
    "value": ({"value_size": 16}, "value_size 8, pinned 16"),
    "entries": ({"max_entries": 11}, "max_entries 10, pinned 11"),
    "flags": (
        {"value_size": 4, "flags": 1 << 10},
        "value_size 8, pinned 4; map_flags 0x0, pinned 0x400",
    ),
}


@pytest.mark.parametrize("case", OTHERS)
def test_only_the_same_map_is_shared(
    case: str, bpffs: Path, tmp_path: Path, bpftool: Callable[..., str]
) -> None:
    attributes, difference = OTHERS[case]
    same = {"map_type": MapType.ARRAY, "key_size": 4, "value_size": 8, "max_entries": 10}
    with create_map(**(same | attributes)) as other:
        obj_pin(other.fileno(), bpffs / "first")
    path = tmp_path / "test.o"
    path.write_bytes(compile_bpf(SOURCE))
    log = bpftool("-d", "prog", "load", path, "/sys/fs/bpf/program")
    if not difference:
        assert "reused pinned map at '/sys/fs/bpf/first'" in log
        for load in LOADS:
            load(loader_of(), Options(pin_root=bpffs)).close()
        return
    assert "couldn't reuse pinned map at '/sys/fs/bpf/first': parameter mismatch" in log
    # What cannot be shared is said before anything is loaded.
    for load, source in ((load, source) for load in LOADS for source in (SOURCE, BAD)):
        with pytest.raises(UsageError) as caught:
            load(loader_of(source), Options(pin_root=bpffs))
        assert str(caught.value) == (
            f"test: {bpffs}/first: map 'first' differs from the pinned one: {difference} "
            "(make them equal (max_entries), remove the pin, or choose another pin directory)"
        )
        assert names(bpffs) == {"first"}


@both
def test_sizes_that_are_asked_for_count(load: Load, bpffs: Path) -> None:
    with create_map(MapType.ARRAY, 4, 8, 11) as other:
        obj_pin(other.fileno(), bpffs / "first")
        number = map_info(other.fileno()).id
    options = Options(pin_root=bpffs, max_entries={"first": 11, "second": 7})
    with load(loader_of(), options) as bpf:
        assert bpf.maps["first"].info().id == number
    with pytest.raises(UsageError, match="'second' differs from the pinned one: max_entries 20"):
        load(loader_of(), Options(pin_root=bpffs, max_entries={"first": 11}))


@both
def test_flag_that_the_kernel_adds_to_device_maps(load: Load, bpffs: Path) -> None:
    source = """
    struct { __uint(type, BPF_MAP_TYPE_DEVMAP); __uint(max_entries, 2); __type(key, int);
             __type(value, int); __uint(pinning, LIBBPF_PIN_BY_NAME); } ports SEC(".maps");
    SEC("xdp") int p(void *ctx) { return bpf_redirect_map(&ports, 0, 0); }
    """
    with load(loader_of(source), Options(pin_root=bpffs)) as one:
        assert one.maps["ports"].info().flags == 1 << 7
        with load(loader_of(source), Options(pin_root=bpffs)) as other:
            assert one.maps["ports"].info() == other.maps["ports"].info()


@both
def test_pin_of_something_else(load: Load, bpffs: Path) -> None:
    with load_program(ProgType.RAW_TRACEPOINT, returns(0)) as program:
        obj_pin(program.fileno(), bpffs / "second")
    with pytest.raises(
        UsageError, match="second: not a map, but map 'second' is pinned by this name"
    ):
        load(loader_of(BAD), Options(pin_root=bpffs))
    (bpffs / "second").unlink()
    (bpffs / "second").mkdir()
    with pytest.raises(UsageError, match="second: cannot open the pin of map 'second': Permission"):
        load(loader_of(BAD), Options(pin_root=bpffs))


@both
def test_no_place_for_pins(load: Load, bpffs: Path, tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "new" / "one"):
        with pytest.raises(UsageError, match=rf"^test: {root}: not on a bpffs \(mount -t bpf"):
            load(loader_of(BAD), Options(pin_root=root))
    assert list(tmp_path.iterdir()) == [bpffs]
    with pytest.raises(
        UsageError, match=r"new.one: cannot create the pin directory: .* have no dots"
    ):
        load(loader_of(), Options(pin_root=bpffs / "top" / "new.one"))
    assert not names(bpffs)
    # Without maps to pin it does not matter.
    load(loader_of("int x;" + 'SEC("socket") int p(void *c) { return x; }'), Options(pin_root=root))


@both
def test_failed_load_leaves_no_pins(load: Load, bpffs: Path) -> None:
    with pytest.raises(lskel.ReplayError, match="program 'bad'"):
        load(loader_of(BAD), Options(pin_root=bpffs / "new"))
    assert not names(bpffs)
    with load(loader_of(), Options(pin_root=bpffs)) as bpf:
        before = bpf.maps["first"].info()
        with pytest.raises(lskel.ReplayError, match="program 'bad'"):
            load(loader_of(BAD), Options(pin_root=bpffs))
        with obj_get(bpffs / "first") as still:
            assert map_info(still.fileno()) == before


def test_somebody_else_pins_meanwhile(bpffs: Path) -> None:
    loader = loader_of()
    made: list[LoadedFds] = []

    class Meanwhile(LoaderKernel):
        def load(self, image: Image, request: Request) -> LoadedFds:
            assert all(asked.fd is None for asked in request.maps)
            made.append(super().load(image, request))
            with create_map(MapType.HASH, 4, 8, 20, flags=1) as other:
                obj_pin(other.fileno(), bpffs / "second")
            return made[0]

    bpf = open_loader(loader, Options(pin_root=bpffs), kernel=Meanwhile(loader))
    with pytest.raises(UsageError, match=r"cannot pin 'second': File exists .*retry"):
        bpf.load()
    assert names(bpffs) == {"second"}
    (fds,) = made
    assert all(fd is not None and fd.closed for fd in (*fds.maps, *fds.programs))
    assert not bpf.loaded


def test_pinning_everything_where_some_maps_are_already(bpffs: Path) -> None:
    everything = {"first", "second", "own", "test_data", "count"}
    with load_by_loader(loader_of(), Options(pin_root=bpffs)) as bpf:
        assert {Path(path).name for path in bpf.pin(bpffs)} == everything == names(bpffs)
    # "own" is taken by now; maps that others share keep their pins.
    for name in ("count", "test_data"):
        (bpffs / name).unlink()
    with (
        load_by_loader(loader_of(), Options(pin_root=bpffs)) as bpf,
        pytest.raises(UsageError, match="cannot pin 'own': File exists"),
    ):
        bpf.pin(bpffs)
    assert names(bpffs) == {"first", "second", "own"}


def test_no_permission(bpffs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **_: object) -> None:
        raise BpfError(7, 1)

    monkeypatch.setattr(pins, "obj_get", refuse)
    with pytest.raises(NoPermission, match="first: cannot open the pin of map 'first': Operation"):
        load_by_loader(loader_of(), Options(pin_root=bpffs))


def test_low_fds_closed(bpffs: Path, tmp_path: Path) -> None:
    """An fd of 0 would ask the loader for a new map."""
    script = (
        "import os, sys, lskel\n"
        "loader = lskel.generate(lskel.open_object(sys.argv[1]))\n"
        "for fd in (0, 1, 2): os.close(fd)\n"
        "ids = set()\n"
        "for direct in (False, False, True):\n"
        "    with lskel.load(loader, pin_root=sys.argv[2], direct=direct) as bpf:\n"
        "        ids.add(bpf.maps['first'].info().id)\n"
        "        if bpf.maps['first'].fileno() < 3: os._exit(2)\n"
        "os._exit(0 if len(ids) == 1 else 3)\n"
    )
    path = tmp_path / "test.o"
    path.write_bytes(compile_bpf(SOURCE))
    done = subprocess.run([sys.executable, "-c", script, str(path), str(bpffs)], check=False)
    assert done.returncode == 0


def test_bpffs(bpffs: Path, tmp_path: Path) -> None:
    assert is_on_bpffs(bpffs) and is_on_bpffs(str(bpffs / "maps.debug"))
    assert not is_on_bpffs(tmp_path) and not is_on_bpffs("/proc")
    with pytest.raises(lskel.LskelError, match="absent: statfs: ENOENT"):
        is_on_bpffs(tmp_path / "absent")


@pytest.fixture
def bpftool(bpffs: Path, run: Run) -> Callable[..., str]:
    """bpftool where `bpffs` is /sys/fs/bpf, as libbpf wants it; all that it says, also in vain."""

    def call(*words: str | Path) -> str:
        script = 'mount --bind "$0" /sys/fs/bpf && { bpftool "$@" 2>&1 || true; }'
        return run("unshare", "--mount", "sh", "-c", script, bpffs, *words)

    return call


@both
@pytest.mark.parametrize("order", ["lskel first", "bpftool first"])
def test_shared_with_libbpf(
    load: Load, order: str, bpffs: Path, tmp_path: Path, bpftool: Callable[..., str]
) -> None:
    path = tmp_path / "test.o"
    path.write_bytes(compile_bpf(SOURCE))
    program = bpffs / "program"

    def by_bpftool() -> tuple[set[str], set[int]]:
        said = bpftool("-d", "prog", "load", path, "/sys/fs/bpf/program")
        ids = set(json.loads(bpftool("-j", "prog", "show", "pinned", program))["map_ids"])
        program.unlink()
        return {line.rpartition("/")[2] for line in said.splitlines() if "reused" in line}, ids

    if order == "bpftool first":
        reused, theirs = by_bpftool()
        assert not reused and names(bpffs) == {"first", "second"}
    with load(loader_of(), Options(pin_root=bpffs)) as bpf:
        ours = {bpf.maps[name].info().id for name in ("first", "second")}
        if order == "lskel first":
            reused, theirs = by_bpftool()
            assert reused == {"first'", "second'"}
        assert ours < theirs


@pytest.mark.corpus
@pytest.mark.usefixtures("corpus_tools")
@both
@pytest.mark.parametrize(
    ("name", "shared"), [("test_pinning", "pinmap"), ("test_sk_assign_libbpf", "server_map")]
)
def test_corpus_with_libbpf(
    load: Load, name: str, shared: str, bpffs: Path, bpftool: Callable[..., str]
) -> None:
    (path,) = (path for path in corpus.objects() if path.stem == name)
    loader = lskel.generate(lskel.open_object(path))
    (bpffs / "programs").mkdir()

    def by_bpftool() -> str:
        said = bpftool("-d", "prog", "loadall", path, "/sys/fs/bpf/programs")
        for program in (bpffs / "programs").iterdir():
            program.unlink()
        return said

    with load(loader, Options(pin_root=bpffs)) as bpf:
        number = bpf.maps[shared].info().id
        assert names(bpffs) == {"programs", shared}
        assert f"reused pinned map at '/sys/fs/bpf/{shared}'" in by_bpftool()
    (bpffs / shared).unlink()
    assert f"pinned map '/sys/fs/bpf/{shared}'" in by_bpftool()
    with load(loader, Options(pin_root=bpffs)) as bpf, obj_get(bpffs / shared) as there:
        assert bpf.maps[shared].info() == map_info(there.fileno())
        assert bpf.maps[shared].info().id != number


def test_bundle_keeps_pins(bpffs: Path, tmp_path: Path) -> None:
    loader_of().save(tmp_path / "test.lskel")
    loader = Loader.load(tmp_path / "test.lskel")
    with load_by_loader(loader, Options(pin_root=bpffs)) as bpf:
        assert names(bpffs) == {"first", "second"}
        assert os.fstat(bpf.maps["first"].fileno())
