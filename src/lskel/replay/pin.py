"""Pinning what is loaded, so that it outlives the process, and opening pins."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from lskel.bpf.enums import MapType
from lskel.bpf.names import enum_name
from lskel.errors import NoPermission, UsageError, at
from lskel.replay.loaded import Loaded
from lskel.runtime.bpffs import is_on_bpffs
from lskel.runtime.objects import Fd, MapInfo, map_info, obj_get, obj_pin
from lskel.runtime.permissions import why_refused
from lskel.runtime.syscall import BpfError
from lskel.trace import MapCreate

# uapi/linux/bpf.h. The kernel adds it to device maps by itself (kernel/bpf/devmap.c).
_F_RDONLY_PROG = 1 << 7
_DEVICE_MAPS = (MapType.DEVMAP, MapType.DEVMAP_HASH)

_MOUNT = "mount one: mount -t bpf bpf /sys/fs/bpf"
_NEW_PIN = "remove the old pin, or choose another directory"
_OTHER_MAP = "make them the same (--max-entries), remove the pin, or choose another --pin-root"


def pin_name(name: str) -> str:
    """The file's name for a map or program: bpffs takes no dots."""
    return name.replace(".", "_")


def pin_all(loaded: Loaded, directory: Path) -> tuple[Path, ...]:
    """Pin all maps and programs as DIRECTORY/NAME; all of them, or none.

    Makes the directory where it is missing. UsageError where it is not on a bpffs, or a name is
    taken.
    """
    fds = {name: made.fd for name, made in loaded.maps.items()}
    fds |= {name: program.fd for name, program in loaded.programs.items()}
    with ExitStack() as undo:
        make_directory(directory, undo)
        paths = pin_fds(fds, directory, _NEW_PIN)
        undo.pop_all()
    return paths


def make_directory(directory: Path, undo: ExitStack) -> None:
    """Make a directory for pins where it is missing; `undo` removes it again.

    UsageError where that cannot be, or is not on a bpffs.
    """
    with at(str(directory)):
        try:
            there = directory
            missing = []
            while not there.exists():
                missing.append(there)
                there = there.parent
            if not is_on_bpffs(there):
                raise UsageError("it must be on a bpffs", hint=_MOUNT)
            for path in reversed(missing):
                path.mkdir()
                undo.callback(_remove, path)
        except OSError as error:
            hint = "names on a bpffs have no dots" if error.errno == errno.EPERM else ""
            raise UsageError(f"no place for pins: {error.strerror}", hint=hint) from error


def _remove(directory: Path) -> None:
    with suppress(OSError):  # somebody else has put something into it
        directory.rmdir()


def pin_fds(fds: Mapping[str, Fd], directory: Path, if_taken: str) -> tuple[Path, ...]:
    """Pin by name, all or none, but for maps that are pinned there already.

    UsageError where that fails; `if_taken` is its hint where there is something else of that name.
    """
    paths = []
    with at(str(directory)), ExitStack() as undo:
        for name, fd in fds.items():
            path = directory / pin_name(name)
            try:
                obj_pin(fd.fileno(), path)
                undo.callback(path.unlink, missing_ok=True)
            except BpfError as error:
                taken = error.errno == errno.EEXIST
                if not (taken and _holds(path, fd)):
                    raise UsageError(
                        f"cannot pin '{name}': {error.strerror}", hint=if_taken if taken else ""
                    ) from error
            paths.append(path)
        undo.pop_all()
    return tuple(paths)


def _holds(path: Path, fd: Fd) -> bool:
    """Whether `path` is a pin of this map."""
    try:
        with obj_get(path) as there:
            both_are_maps = _is_map(there) and _is_map(fd)
            return both_are_maps and map_info(there.fileno()).id == map_info(fd.fileno()).id
    except BpfError:
        return False  # no pin that we may open, so certainly no pin of ours


def open_pin(create: MapCreate, directory: Path) -> Fd | None:
    """The map that is pinned in `directory` by the name of the one to be created, if there is one.

    UsageError where that is not of the same type, sizes, flags and map_extra: what libbpf asks for,
    too (bpf_object__reuse_map). NoPermission where this process may open no pins.
    """
    path = directory / pin_name(create.name)
    try:
        fd = obj_get(path)
    except BpfError as error:
        if error.errno == errno.ENOENT:
            return None
        what = f"{path}: cannot open the pin of map '{create.name}': {error.strerror}"
        if error.errno == errno.EPERM or not os.access(directory, os.X_OK):
            raise NoPermission(what, errno=error.errno, hint=why_refused()) from error
        raise UsageError(what) from error
    with at(str(path)), ExitStack() as undo:
        undo.enter_context(fd)
        if not _is_map(fd):
            raise UsageError(f"this is no map, but map '{create.name}' asks for it", hint=_NEW_PIN)
        if found := _differences(create, map_info(fd.fileno())):
            raise UsageError(
                f"map '{create.name}' cannot be the pinned one: {found}", hint=_OTHER_MAP
            )
        undo.pop_all()
    return fd


def _differences(create: MapCreate, there: MapInfo) -> str:
    """What keeps two maps from being one, with both values."""
    flags = there.flags & ~(_F_RDONLY_PROG if create.type in _DEVICE_MAPS else 0)
    attributes: tuple[tuple[str, object, object], ...] = (
        ("type", enum_name(MapType, create.type), enum_name(MapType, there.type)),
        ("key_size", create.key_size, there.key_size),
        ("value_size", create.value_size, there.value_size),
        ("max_entries", create.max_entries, there.max_entries),
        ("map_flags", hex(create.flags), hex(flags)),
        ("map_extra", hex(create.map_extra), hex(there.map_extra)),
    )
    return "; ".join(
        f"{name} {wanted}, pinned {found}" for name, wanted, found in attributes if wanted != found
    )


def _is_map(fd: Fd) -> bool:
    # The infos of maps, programs and links look alike; only the files' names tell them apart.
    try:
        return Path(f"/proc/self/fd/{fd.fileno()}").readlink() == Path("anon_inode:bpf-map")
    except OSError:
        return True  # without /proc the attributes must do
