"""`lskel.load`: opening an object or a bundle as a collection."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lskel.bpf.enums import ProgType
from lskel.bpf.names import PROG_TYPE_PREFIX, enum_value
from lskel.errors import UsageError, WrongType, at, got, printable
from lskel.input import read_input
from lskel.load_phase.untyped import is_untyped
from lskel.loader.archive import MAGIC
from lskel.loader.generate import AUTO, generate
from lskel.loader.model import Bytes, Form, Loader
from lskel.object.model import Object
from lskel.object.open import default_name, open_object
from lskel.replay.direct import CallByCall
from lskel.replay.kernel import LoaderKernel
from lskel.replay.options import DEFAULTS, PIN_ROOT, Options, Settings, apply
from lskel.replay.trust import check_bytes, check_trace, with_comparison
from lskel.runtime.kernel import RunningKernel
from lskel.skeleton.dynamic import DynamicCollection, collection_of

if TYPE_CHECKING:
    from lskel.runtime.kernel import Kernel

    Source = str | os.PathLike[str] | bytes | bytearray | memoryview | Object | Loader


def load(
    source: Source,
    *,
    name: str | None = None,
    form: Form | str | None = None,
    kernel: Kernel | None = None,
    direct: bool = False,
    event_types: Mapping[str, str] | None = None,
    maps: Mapping[str, Settings] | None = None,
    programs: Mapping[str, Settings] | None = None,
    max_entries: Mapping[str, int] | None = None,
    variables: Mapping[str, Any] | None = None,
    autoload: Mapping[str, bool] | None = None,
    targets: Mapping[str, str] | None = None,
    kconfig: Mapping[str, str | int] | None = None,
    pin_root: str | os.PathLike[str] = PIN_ROOT,
    trust_pins: bool = False,
    token_path: str | os.PathLike[str] | None = None,
    trust_bytes: bool = False,
) -> DynamicCollection:
    """Open an object or a bundle (a path, bytes, `Object` or `Loader`) as a collection.

    The collection is not loaded yet, so it can still be changed. It is loaded by `load`, `attach`,
    or the first use of the kernel (see `Collection`). A ``with`` block closes it.

    `name` replaces the object's name, which defaults to that of its file. `form` is the form of the
    generated loader; None: the fastest (`lskel.generate`). `kernel` replaces the running kernel,
    for example by a `SimulatedMachine`. `direct` makes direct system calls instead of running a
    loader program, which works since Linux 5.10. `event_types` are the types of the events of ring
    and perf buffers, as for `Object.with_event_types`. The other arguments are those of `Options`.

    UsageError, NotFound or BadInput if the source or an argument is invalid; errors of the kernel
    are raised when the collection is loaded.
    """
    if direct and kernel is not None:
        raise UsageError("`direct` needs the running kernel", hint="remove `kernel`")
    if kernel is not None and (isinstance(kernel, type) or not hasattr(kernel, "load")):
        raise WrongType(f"kernel: expected a kernel, such as SimulatedMachine(), got {kernel!r}")
    named = {
        "maps": maps,
        "programs": programs,
        "max_entries": max_entries,
        "variables": variables,
        "autoload": autoload,
        "targets": targets,
        "kconfig": kconfig,
        "event_types": event_types,
    }
    for argument, value in named.items():
        if value is not None and not isinstance(value, Mapping):
            raise WrongType(f"{argument}: expected a dict by name, got {got(value)}")
    for argument in ("maps", "programs"):
        for key, settings in (named[argument] or {}).items():
            if not isinstance(settings, Mapping):
                raise WrongType(
                    f"{argument}: '{key}': expected a dict of attributes, got {got(settings)}"
                )
    if not isinstance(pin_root, (str, PathLike)):
        raise WrongType(f"pin_root: expected a path, got {got(pin_root)}")
    loader = _loader(source, name, form, event_types or {}, programs or {})
    texts = {path: _text(path, value) for path, value in (variables or {}).items()}
    options = Options(
        maps=maps or {},
        programs=programs or {},
        max_entries=max_entries or {},
        variables=texts,
        autoload=autoload or {},
        targets=targets or {},
        kconfig=kconfig or {},
        pin_root=Path(pin_root),
        trust_pins=trust_pins,
        token_path=None if token_path is None else os.fspath(token_path),
        trust_bytes=trust_bytes,
    )
    return open_loader(loader, options, kernel=kernel, direct=direct)


def open_loader(
    loader: Loader,
    options: Options = DEFAULTS,
    *,
    kernel: Kernel | None = None,
    direct: bool = False,
) -> DynamicCollection:
    """The collection of a loader with these options; BadBundle if its bytes may not run."""
    trace = loader.trace
    with at(trace.name):
        loader = with_comparison(loader)  # once, for all that asks
        if direct:
            check_trace(loader)
            bpf = collection_of(trace, None, kernel or CallByCall(trace))
        else:
            check_bytes(loader, options)
            bpf = collection_of(
                trace,
                loader,
                _checking(kernel, loader, trust_bytes=options.trust_bytes),
                labelled=loader.compared is not Bytes.DIFFERENT,
            )
        apply(options, bpf, trace)
    return bpf


def _checking(kernel: Kernel | None, loader: Loader, *, trust_bytes: bool) -> Kernel:
    """The running kernel checks the bytes for what is asked of it when they run."""
    if kernel is None or type(kernel) is RunningKernel:
        return LoaderKernel(loader, trust_bytes=trust_bytes)
    return kernel


def _text(path: str, value: Any) -> str:
    if isinstance(value, str | int | float):
        return str(value)
    raise WrongType(
        f"variables: {path}: expected text or a number, got {type(value).__name__}",
        hint=f"assign it to the collection: bpf.{path} = ...",
    )


def _loader(
    source: Source,
    name: str | None,
    form: Form | str | None,
    types: Mapping[str, str],
    programs: Mapping[str, Settings],
) -> Loader:
    if isinstance(source, Loader):
        _check_unused("a loader", name, form)
        return source.with_event_types(types)
    if isinstance(source, Object):
        _check_unused("an open object", name, None)
        return generate(_with_types(source, programs).with_event_types(types), form or AUTO)
    if isinstance(source, bytes | bytearray | memoryview):
        return _of_bytes(bytes(source), name, form, types, programs)
    if not isinstance(source, str | os.PathLike):
        raise WrongType(
            f"expected a path, bytes, an Object or a Loader, got {type(source).__name__}"
        )
    with at(os.fspath(source)):
        data = read_input(source)
        is_object = not data.startswith(MAGIC)
        name = name or default_name(source) if is_object else name
        return _of_bytes(data, name, form, types, programs)


def _with_types(obj: Object, programs: Mapping[str, Settings]) -> Object:
    """The object in which programs whose section names have no type have that of the settings."""
    for program in obj.programs:
        wanted = programs.get(program.name, {}).get("type")
        if not is_untyped(program):
            continue
        if isinstance(wanted, str):
            with at(obj.name, f"program '{program.name}'"):
                wanted = enum_value(ProgType, wanted, PROG_TYPE_PREFIX, "program type")
        # Other values are refused like those of any attribute.
        if isinstance(wanted, int) and wanted in ProgType._value2member_map_:
            obj = obj.with_type(program.name, ProgType(wanted))
    return obj


def _of_bytes(
    data: bytes,
    name: str | None,
    form: Form | str | None,
    types: Mapping[str, str],
    programs: Mapping[str, Settings],
) -> Loader:
    if data.startswith(MAGIC):
        _check_unused("a bundle", name, form)
        return Loader.load(data).with_event_types(types)
    opened = open_object(data, name)
    for remark in opened.remarks:
        warnings.warn(printable(f"{opened.name}: {remark}"), stacklevel=4)
    return generate(_with_types(opened, programs).with_event_types(types), form or AUTO)


def _check_unused(what: str, name: str | None, form: Form | str | None) -> None:
    given = [key for key, value in (("name", name), ("form", form)) if value is not None]
    if given:
        raise UsageError(f"{' and '.join(given)} cannot change {what}, which has its own")
