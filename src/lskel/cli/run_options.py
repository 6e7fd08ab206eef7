"""The options for running a loader."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lskel.cli import completers
from lskel.cli.common import grouped_options, pairs, trust_option
from lskel.cli.terminal import Progress, show_warning
from lskel.errors import UsageError, at
from lskel.replay.options import PIN_ROOT, Options
from lskel.runtime.token import DEFAULT_PATH, VARIABLE

if TYPE_CHECKING:
    from lskel.loader.model import Loader
    from lskel.runtime.collection import Collection

_MAP = "MAP.ATTRIBUTE=VALUE"
_PROGRAM = "PROG.ATTRIBUTE=VALUE"
_KCONFIG = "NAME=VALUE"
_TARGET = "PROGRAM=TARGET"
_MAX_ENTRIES = "MAP=N"
# More than a 64-bit number has.
_DIGITS = 24
_VARIABLE = "SECTION.VARIABLE=VALUE"


def _options(
    maps: tuple[str, ...],
    programs: tuple[str, ...],
    kconfig: tuple[str, ...],
    targets: tuple[str, ...],
    max_entries: tuple[str, ...],
    variables: tuple[str, ...],
    pin_root: Path = PIN_ROOT,
    *,
    trust_pins: bool = False,
    token_path: str | None = None,
    trust_bytes: bool = False,
) -> Options:
    with at("--map"):
        of_maps = _settings(maps, _MAP)
    with at("--prog"):
        of_programs = _settings(programs, _PROGRAM)
    with at("--kconfig"):
        values = pairs(kconfig, _KCONFIG)
    with at("--target"):
        attach = pairs(targets, _TARGET)
    with at("--max-entries"):
        texts = pairs(max_entries, _MAX_ENTRIES)
        sizes = {name: _number(name, text) for name, text in texts.items()}
    with at("--set"):
        initial = pairs(variables, _VARIABLE)
    return Options(
        maps=of_maps,
        programs=of_programs,
        kconfig=values,
        targets=attach,
        max_entries=sizes,
        variables=initial,
        pin_root=pin_root,
        trust_pins=trust_pins,
        token_path=token_path,
        trust_bytes=trust_bytes,
    )


def _settings_options(
    maps: tuple[str, ...],
    programs: tuple[str, ...],
    max_entries: tuple[str, ...],
    variables: tuple[str, ...],
) -> Options:
    return _options(maps, programs, (), (), max_entries, variables)


def for_one(options: Options) -> tuple[str, ...]:
    """The set options that apply only to a single object: they name its maps or programs."""
    given = {
        "--map": options.maps,
        "--prog": options.programs,
        "--target": options.targets,
        "--max-entries": options.max_entries,
        "--set": options.variables,
    }
    return tuple(option for option, values in given.items() if values)


def load_loader(
    loader: Loader,
    options: Options,
    *,
    direct: bool = False,
) -> tuple[Collection, Loader | None]:
    """A loaded collection, and the loader that ran; None for direct system calls."""
    from lskel.replay.kernel import LoaderKernel
    from lskel.replay.load import open_loader

    kernel = None if direct else LoaderKernel(loader, trust_bytes=options.trust_bytes)
    bpf = open_loader(loader, options, kernel=kernel, direct=direct)
    bpf.load()
    return bpf, None if kernel is None else kernel.loader


def warn_of_form(source: str, loader: Loader, ran: Loader | None, bar: Progress) -> None:
    """Warn if a loader of another form ran than requested."""
    if ran is None or ran.form is loader.form:
        return
    with bar.aside():
        what = f"this kernel does not support the {loader.form.value} form; the loader was unrolled"
        show_warning(source, what)


# The attributes whose values are yes or no.
_FLAGS = {"y": True, "yes": True, "true": True, "n": False, "no": False, "false": False}
_YES_OR_NO = ("autocreate", "autoload")
_INNER = ".inner_map"


def _settings(options: tuple[str, ...], form: str) -> dict[str, dict[str, Any]]:
    """Values of attributes by name; those of `inner_map` as a dict."""
    found: dict[str, dict[str, Any]] = {}
    for path, text in pairs(options, form).items():
        # Names of maps may have dots.
        name, sign, attribute = path.rpartition(".")
        if not (name.removesuffix(_INNER) and sign and attribute):
            raise UsageError(f"expected {form}, got '{path}={text}'")
        settings = found.setdefault(name.removesuffix(_INNER), {})
        if attribute == _INNER[1:]:
            raise UsageError(
                f"expected {form}, got '{path}={text}'", hint=f"{path}.ATTRIBUTE=VALUE"
            )
        if name.endswith(_INNER):
            settings = settings.setdefault(_INNER[1:], {})
        settings[attribute] = _value(attribute, text)
    return found


def _value(attribute: str, text: str) -> Any:
    """A number, or yes or no; other texts are names and paths, which the attributes check."""
    if attribute in _YES_OR_NO:
        return _FLAGS.get(text.lower(), text)
    if text[:1].isdigit() and text.isascii() and len(text) <= _DIGITS:
        try:
            return int(text, 0)
        except ValueError:
            pass  # a name that begins with a digit
    return text


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise UsageError(f"expected {_MAX_ENTRIES}, got '{name}={text}'")
    if len(text) > len(str(1 << 32)):
        raise UsageError(f"'{name}={text}': more entries than a map can have")
    return int(text)


_SETTINGS = (
    click.option(
        "--map",
        "maps",
        multiple=True,
        metavar=_MAP,
        shell_complete=completers.map_settings,
        help="An attribute of a map, such as events.type=perf_event_array: type, key_size, "
        "value_size, max_entries, map_flags, map_extra, numa_node, autocreate, pin_path, or "
        "inner_map and one of these.",
    ),
    click.option(
        "--prog",
        "programs",
        multiple=True,
        metavar=_PROGRAM,
        shell_complete=completers.program_settings,
        help="An attribute of a program, such as on_packet.flags=xdp_has_frags: type, "
        "expected_attach_type, flags, target, log_level.",
    ),
)
_VALUES = (
    click.option(
        "--max-entries",
        multiple=True,
        metavar=_MAX_ENTRIES,
        shell_complete=completers.names(completers.maps, then="="),
        help="The max_entries of a map.",
    ),
    click.option(
        "--set",
        "variables",
        multiple=True,
        metavar=_VARIABLE,
        shell_complete=completers.names(completers.variables, then="="),
        help="The initial value of a global variable, such as rodata.target_pid=42; members and "
        "elements as in C.",
    ),
)
_COMMON = (
    *_SETTINGS,
    click.option(
        "--kconfig",
        multiple=True,
        metavar=_KCONFIG,
        shell_complete=completers.names(completers.kconfig, then="="),
        help="A kconfig value, such as CONFIG_HZ=250.",
    ),
    click.option(
        "--target",
        "targets",
        multiple=True,
        metavar=_TARGET,
        shell_complete=completers.names(completers.programs, then="="),
        help="The attach target of a program, instead of that in its section name: a kernel "
        "function, hook or tracepoint, or PIN[:FUNCTION] or id:N[:FUNCTION] of a BPF program.",
    ),
    *_VALUES,
)
_PINS = (
    click.option(
        "--pin-root",
        type=click.Path(path_type=Path),
        default=PIN_ROOT,
        show_default=True,
        metavar="DIR",
        shell_complete=completers.directories,
        help="Where maps with LIBBPF_PIN_BY_NAME are pinned.",
    ),
    click.option(
        "--trust-pins",
        is_flag=True,
        help="Use pins and pin directories that other users own or can write to.",
    ),
    click.option(
        "--token-path",
        metavar="DIR",
        shell_complete=completers.directories,
        help="The bpffs whose BPF token the load uses, in a user namespace (Linux 6.9); by "
        f"default, as with libbpf, that of ${VARIABLE}, or {DEFAULT_PATH} if it has one.",
    ),
)
# Argument `options`: for what a loader has without being told.
settings_options = grouped_options("options", _settings_options, *_SETTINGS, *_VALUES)
# Argument `options`: for commands that simulate, that may also measure, and that load.
simulation_options = grouped_options("options", _options, *_COMMON)
measure_options = grouped_options("options", _options, *_COMMON, *_PINS)
run_options = grouped_options("options", _options, *_COMMON, *_PINS, trust_option)
