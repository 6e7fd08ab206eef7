"""Pins that others made, or could replace: refused, and taken where somebody says so."""

from __future__ import annotations

import os
from collections.abc import Callable
from ctypes import c_uint32
from pathlib import Path
from typing import Any

import pytest

import lskel
from lskel.bpf.enums import MapType
from lskel.cli import main
from lskel.errors import UsageError
from lskel.loader.model import Loader
from lskel.replay.options import Options
from lskel.runtime.maps.array import ArrayMap
from lskel.runtime.objects import obj_get, obj_pin
from lskel.runtime.syscall import BpfError
from tests.build.clang import compile_bpf
from tests.loads import load_by_loader, load_directly
from tests.runtime.programs import create_map
from tests.skeleton.modules import compiled, skeleton_class

pytestmark = pytest.mark.kernel

SOMEBODY = 12345
SOURCE = """
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, int);
         __type(value, int); __uint(pinning, LIBBPF_PIN_BY_NAME); } shared SEC(".maps");
SEC("socket") int reads(void *c) { int k = 0; return bpf_map_lookup_elem(&shared, &k) != 0; }
"""
REPLACES = 'SEC("?freplace") int reads(void *c) { return 0; }'


def unpinned() -> Loader:
    """SOURCE, whose map is its own."""
    return compiled(SOURCE.replace("__uint(pinning, LIBBPF_PIN_BY_NAME);", ""))


def pinned(place: Path) -> Path:
    """A pin of the map that SOURCE asks for, in a directory that is made."""
    place.mkdir(parents=True, exist_ok=True)
    with create_map(MapType.ARRAY, 4, 4, 1, name=b"shared") as fd:
        obj_pin(fd.fileno(), place / "shared", trust_pins=True)
    return place / "shared"


# What makes a place wrong, given its directory and the pin in it; and what is said.
Wrong = Callable[[Path, Path], object]


def _link_directory(directory: Path, pin: Path) -> None:
    directory.rename(directory.parent / "elsewhere")
    directory.symlink_to(directory.parent / "elsewhere")


def _link_pin(directory: Path, pin: Path) -> None:
    pin.rename(directory.parent / "other")
    pin.symlink_to(directory.parent / "other")


def _sticky_of_somebody(directory: Path, pin: Path) -> None:
    os.chown(directory, SOMEBODY, 0)
    directory.chmod(0o1777)


def _open_parent(directory: Path, pin: Path) -> None:
    directory.parent.chmod(0o777)


DIRECTORIES: dict[str, tuple[Wrong, str]] = {
    "symlink": (_link_directory, "place is a symlink"),
    "owner": (lambda d, _: os.chown(d, SOMEBODY, 0), f"place belongs to user {SOMEBODY}"),
    "others": (lambda d, _: d.chmod(0o757), r"place is writable by others \(mode 0757\)"),
    "group": (lambda d, _: d.chmod(0o770), r"place is writable by others \(mode 0770\)"),
    "parent": (_open_parent, r"up is writable by others \(mode 0777\)"),
    "sticky": (_sticky_of_somebody, f"place belongs to user {SOMEBODY}"),
}
PINS: dict[str, tuple[Wrong, str]] = {
    **DIRECTORIES,
    "pin-symlink": (_link_pin, "shared is a symlink"),
    "pin-owner": (lambda _, p: os.chown(p, SOMEBODY, 0), f"shared belongs to user {SOMEBODY}"),
    "pin-others": (lambda _, p: p.chmod(0o606), r"shared is writable by others \(mode 0606\)"),
}


def by_get(place: Path, *, trust: bool) -> None:
    obj_get(place / "shared", trust_pins=trust).close()


def by_open(place: Path, *, trust: bool) -> None:
    ArrayMap.open(place / "shared", c_uint32, trust_pins=trust).close()


def by_kernel(place: Path, *, trust: bool) -> None:
    load_by_loader(compiled(SOURCE), Options(pin_root=place, trust_pins=trust)).close()


def by_direct(place: Path, *, trust: bool) -> None:
    load_directly(compiled(SOURCE), Options(pin_root=place, trust_pins=trust)).close()


def by_skeleton(place: Path, *, trust: bool) -> None:
    with skeleton_class(compiled(SOURCE))() as skel:
        skel.pin_root, skel.trust_pins = str(place), trust
        skel.load()


Door = Callable[..., None]
SHARING = [by_kernel, by_direct, by_skeleton]


@pytest.mark.parametrize("door", [by_get, by_open, *SHARING])
@pytest.mark.parametrize("wrong", PINS)
def test_a_pin_that_is_there(door: Door, wrong: str, bpffs: Path) -> None:
    place = bpffs / "up" / "place"
    pin = pinned(place)
    do, said = PINS[wrong]
    do(place, pin)
    with pytest.raises(UsageError, match=rf"{said} \(other users could .* --trust-pins, in Python"):
        door(place, trust=False)
    door(place, trust=True)


def by_pin(place: Path, *, trust: bool) -> None:
    with create_map(MapType.ARRAY, 4, 4, 1) as fd:
        obj_pin(fd.fileno(), place / "new", trust_pins=trust)


def by_pin_all(place: Path, *, trust: bool) -> None:
    with load_by_loader(unpinned(), Options(trust_pins=trust)) as bpf:
        bpf.pin(place)


def by_methods(place: Path, *, trust: bool) -> None:
    with skeleton_class(unpinned())() as s:
        s.load()
        if not trust:
            with pytest.raises(UsageError):
                s.progs.reads.pin(place / "reads")
        s.maps.shared.pin(place / "shared", trust_pins=trust)
        s.progs.reads.pin(place / "reads", trust_pins=trust)


@pytest.mark.parametrize("door", [by_pin, by_pin_all, by_methods, *SHARING])
@pytest.mark.parametrize("wrong", DIRECTORIES)
def test_a_pin_that_is_made(door: Door, wrong: str, bpffs: Path) -> None:
    place = bpffs / "up" / "place"
    place.mkdir(parents=True)
    do, said = DIRECTORIES[wrong]
    do(place, place / "none")
    with pytest.raises(UsageError, match=said):
        door(place, trust=False)
    assert list(place.iterdir()) == []
    door(place, trust=True)
    assert list(place.iterdir()) != []


@pytest.mark.parametrize("door", [by_get, by_open, *SHARING])
def test_pins_of_the_sticky_root_of_a_bpffs(door: Door, bpffs: Path) -> None:
    """Of root and of this user they are right, of others not."""
    assert bpffs.stat().st_mode & 0o7777 == 0o1777
    pin = pinned(bpffs)
    door(bpffs, trust=False)
    os.chown(pin, SOMEBODY, SOMEBODY)
    with pytest.raises(UsageError, match=f"shared belongs to user {SOMEBODY}"):
        door(bpffs, trust=False)


def test_pins_of_another_user_than_root(bpffs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own are right, too."""
    pin = pinned(bpffs / "place")
    os.chown(bpffs / "place", SOMEBODY, SOMEBODY)
    os.chown(pin, SOMEBODY, SOMEBODY)
    with pytest.raises(UsageError, match="belongs to user"):
        obj_get(pin)
    monkeypatch.setattr(os, "geteuid", lambda: SOMEBODY)
    obj_get(pin).close()


def test_a_symlink_outside_that_leads_to_a_bpffs(bpffs: Path, tmp_path: Path) -> None:
    """It is right where nobody else can replace it, or what it leads through."""
    pinned(bpffs / "place")
    (tmp_path / "out").symlink_to(bpffs.parent)
    (tmp_path / "in").symlink_to(bpffs / "place")
    through = (tmp_path / "out" / bpffs.name / "place" / "shared", tmp_path / "in" / "shared")
    for path in through:
        obj_get(path).close()
    os.lchown(tmp_path / "in", SOMEBODY, SOMEBODY)
    with pytest.raises(UsageError, match=f"in belongs to user {SOMEBODY}"):
        obj_get(through[1])
    tmp_path.chmod(0o777)
    with pytest.raises(UsageError, match="is writable by others"):
        obj_get(through[0])
    tmp_path.chmod(0o700)


def test_directories_above_the_bpffs_count(bpffs: Path, tmp_path: Path) -> None:
    pinned(bpffs / "place")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "in").symlink_to(bpffs / "place")
    obj_get(tmp_path / "theirs" / "in" / "shared").close()
    os.chown(tmp_path / "theirs", SOMEBODY, SOMEBODY)
    with pytest.raises(UsageError, match=f"theirs belongs to user {SOMEBODY}"):
        obj_get(tmp_path / "theirs" / "in" / "shared")


def test_nothing_is_opened_where_nothing_was(bpffs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a sticky directory others may make the pin at any time: it is not asked for again."""
    calls: list[Any] = []
    monkeypatch.setattr("lskel.runtime.objects.bpf", lambda *call: calls.append(call))
    with pytest.raises(BpfError, match="ENOENT"):
        obj_get(bpffs / "none")
    assert calls == []


def test_directories_are_for_us_alone_whatever_the_umask(bpffs: Path) -> None:
    before = os.umask(0)
    try:
        by_kernel(bpffs / "new" / "er", trust=False)
    finally:
        os.umask(before)
    by_kernel(bpffs / "new" / "er", trust=False)
    assert (bpffs / "new").stat().st_mode & 0o777 == 0o755


def test_programs_named_by_pins(bpffs: Path) -> None:
    with load_by_loader(unpinned()) as bpf:
        pin = bpffs / "reads"
        obj_pin(bpf.progs["reads"].fileno(), pin)
        os.chown(pin, SOMEBODY, 0)
        loader = replacing()
        for trust, said in ((False, "belongs to user"), (True, "no function 'reads_not'")):
            options = Options(
                targets={"reads": f"{pin}:reads_not"}, autoload={"reads": True}, trust_pins=trust
            )
            with pytest.raises(lskel.LskelError, match=said):
                load_by_loader(loader, options)
            with skeleton_class(loader)() as skel, pytest.raises(lskel.LskelError, match=said):
                skel.progs.reads.autoload = True
                skel.progs.reads.target = f"{pin}:reads_not"
                skel.trust_pins = trust
                skel.load()


def replacing() -> Loader:
    return lskel.generate(lskel.open_object(compile_bpf(REPLACES), name="test"))


# -- the command -----------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--pin", "--pin-root"])
def test_command(
    option: str, bpffs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "test.bpf.o"
    path.write_bytes(compile_bpf(SOURCE))
    place = bpffs / "place"
    place.mkdir()
    place.chmod(0o777)
    root = ["--pin-root", str(bpffs)] if option == "--pin" else []
    command = ["load", str(path), option, str(place), *root]
    assert main(command) == 1
    error = capsys.readouterr().err
    assert "place is writable by others (mode 0777)" in error
    assert "--trust-pins" in error
    assert main([*command, "--trust-pins"]) == 0
    assert (place / "shared").exists()
