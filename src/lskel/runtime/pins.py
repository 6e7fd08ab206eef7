"""Pins of maps and programs by name in a bpffs directory: creating, opening, comparing."""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack, suppress

from lskel.bpf.enums import MapType
from lskel.bpf.flags import MapFlag
from lskel.bpf.names import enum_name
from lskel.catalog.map_types import Elements, of_elements
from lskel.errors import NoPermission, UsageError, at
from lskel.light_typing import NamedTuple
from lskel.runtime.bpffs import is_on_bpffs
from lskel.runtime.info import map_info
from lskel.runtime.objects import NO_DOTS, Fd, ObjectKind, kind_of, obj_get, obj_pin
from lskel.runtime.permissions import why_refused
from lskel.runtime.syscall import BpfError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from lskel.runtime.info import MapInfo
    from lskel.runtime.maps.base import MapDefinition


# The kernel adds BPF_F_RDONLY_PROG to these (kernel/bpf/devmap.c).
_DEVICE_MAPS = of_elements(Elements.DEVICES, Elements.DEVICES_BY_KEY)

# Mode of pin directories: not writable by others, whatever the umask.
_MODE = 0o755
_MOUNT = "mount -t bpf bpf /sys/fs/bpf"
NEW_PIN = "remove the old pin, or choose another directory"
SHARE_AGAIN = "another map was pinned during the load: retry to share it"
_OTHER_MAP = "make them equal (max_entries), remove the pin, or choose another pin directory"


def pin_path(directory: str, name: str) -> str:
    """The pin path of a map or program: names on a bpffs have no dots."""
    return f"{directory}/{name.replace('.', '_')}"


def existing(directory: str) -> tuple[str, list[str]]:
    """The nearest existing directory, and the missing ones below it, innermost first."""
    there = os.path.abspath(directory)  # noqa: PTH100 - pathlib is slow to import
    missing = []
    while not os.path.exists(there):  # noqa: PTH110
        missing.append(there)
        there = os.path.dirname(there)  # noqa: PTH120
    return there, missing


def pinnable(directory: str) -> bool:
    """Whether the mode of a directory lets this user create pins and directories."""
    return os.access(directory, os.W_OK | os.X_OK)


def check_directory(directory: str) -> list[str]:
    """The missing directories for pins in this one, innermost first.

    UsageError if it is not on a bpffs.
    """
    with at(directory):
        there, missing = existing(directory)
        if not is_on_bpffs(there):
            raise UsageError("not on a bpffs", hint=_MOUNT)
    return missing


def _make_directory(directory: str, undo: ExitStack) -> None:
    """Create a pin directory if missing; `undo` removes it again.

    UsageError if that fails, or it is not on a bpffs.
    """
    missing = check_directory(directory)
    with at(directory):
        try:
            for path in reversed(missing):
                os.mkdir(path, _MODE)  # noqa: PTH102
                undo.callback(_remove, path)
        except OSError as error:
            hint = NO_DOTS if error.errno == errno.EPERM else ""
            raise UsageError(
                f"cannot create the pin directory: {error.strerror}", hint=hint
            ) from error


def _remove(directory: str) -> None:
    with suppress(OSError):  # not empty any more
        os.rmdir(directory)  # noqa: PTH106


def _unlink(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108


class Pin(NamedTuple):
    """A map or program to pin: its name, its fd, and the path."""

    name: str
    fd: int
    path: str


def pin_all(pins: Iterable[Pin], if_taken: str, *, trust_pins: bool = False) -> tuple[str, ...]:
    """Pin all or none, except maps that are already pinned there; returns the paths.

    Creates missing directories. UsageError on failure; `if_taken` is its hint if the name is used
    by something else.
    """
    paths = []
    with ExitStack() as undo:
        for name, fd, path in pins:
            directory = os.path.dirname(path)  # noqa: PTH120
            _make_directory(directory, undo)
            try:
                obj_pin(fd, path, trust_pins=trust_pins)
                undo.callback(_unlink, path)
            except BpfError as error:
                taken = error.errno == errno.EEXIST
                if not (taken and _holds(path, fd, trust_pins=trust_pins)):
                    raise UsageError(
                        f"{directory}: cannot pin '{name}': {error.strerror}",
                        hint=if_taken if taken else "",
                    ) from error
            paths.append(path)
        undo.pop_all()
    return tuple(paths)


def _holds(path: str, fd: int, *, trust_pins: bool) -> bool:
    """Whether `path` is a pin of this map."""
    try:
        with obj_get(path, trust_pins=trust_pins) as there:
            both_are_maps = is_map(there.fileno()) and is_map(fd)
            return both_are_maps and map_info(there.fileno()).id == map_info(fd).id
    except BpfError:
        return False  # we may not open it, so it is not our pin


def open_pin(wanted: MapDefinition, path: str, *, trust_pins: bool = False) -> Fd | None:
    """The map that is pinned at `path`, if any.

    UsageError if its type, sizes, flags or map_extra differ (as libbpf's bpf_object__reuse_map
    checks), if other users could have created it (unless `trust_pins`), or if the directory is not
    on a bpffs. NoPermission if this process may not open pins.
    """
    directory = os.path.dirname(path)  # noqa: PTH120
    if check_directory(directory):
        return None  # no directory, no pin
    try:
        fd = obj_get(path, trust_pins=trust_pins)
    except BpfError as error:
        if error.errno == errno.ENOENT:
            return None
        what = f"{path}: cannot open the pin of map '{wanted.name}': {error.strerror}"
        if error.errno == errno.EPERM and "." in os.path.basename(path):  # noqa: PTH119
            raise UsageError(what, hint=NO_DOTS) from error
        is_closed = error.errno == errno.EACCES and not os.access(directory, os.X_OK)
        if error.errno == errno.EPERM or is_closed:
            raise NoPermission(what, errno=error.errno, hint=why_refused()) from error
        raise UsageError(what) from error
    with at(path), ExitStack() as undo:
        undo.enter_context(fd)
        if not is_map(fd.fileno()):
            raise UsageError(
                f"not a map, but map '{wanted.name}' is pinned by this name", hint=NEW_PIN
            )
        if found := _differences(wanted, map_info(fd.fileno())):
            raise UsageError(
                f"map '{wanted.name}' differs from the pinned one: {found}", hint=_OTHER_MAP
            )
        undo.pop_all()
    return fd


def _differences(wanted: MapDefinition, there: MapInfo) -> str:
    """The attributes in which two maps differ, with both values."""
    flags = there.flags & ~(MapFlag.RDONLY_PROG if wanted.type in _DEVICE_MAPS else 0)
    attributes: tuple[tuple[str, object, object], ...] = (
        ("type", enum_name(MapType, wanted.type), enum_name(MapType, there.type)),
        ("key_size", wanted.key_size, there.key_size),
        ("value_size", wanted.value_size, there.value_size),
        ("max_entries", wanted.max_entries, there.max_entries),
        ("map_flags", hex(wanted.flags), hex(flags)),
        ("map_extra", hex(wanted.map_extra), hex(there.map_extra)),
    )
    return "; ".join(
        f"{name} {ours}, pinned {found}" for name, ours, found in attributes if ours != found
    )


def is_map(fd: int) -> bool:
    """Whether the fd of a pin is a map."""
    return kind_of(fd) in (ObjectKind.MAP, None)  # without /proc only the attributes are compared
