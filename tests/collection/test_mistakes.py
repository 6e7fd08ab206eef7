"""The same mistake gives the same error, whichever door it comes through."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import lskel
from lskel.cli import main
from lskel.errors import LskelError
from lskel.loader.model import Loader
from tests.build.clang import compile_bpf
from tests.skeleton.modules import by_module

SOURCE = """
struct point { int x; unsigned char y; };
enum color { RED, BLUE = 5 };
const volatile struct point origin = {};
const volatile unsigned int limit = 3;
const volatile _Bool verbose = 0;
const volatile char name[8] = "first";
int table[4] = { 1 };
long seen;
extern int CONFIG_HZ __kconfig;
extern _Bool CONFIG_BPF __kconfig;
struct event { int a; };
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 4);
         __type(key, int); __type(value, struct event); } points SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } events SEC(".maps");
SEC("raw_tp/sys_enter") int count(void *ctx)
{ int key = origin.x + limit + verbose + name[0] + CONFIG_HZ + CONFIG_BPF;
  bpf_ringbuf_output(&events, &key, 4, 0);
  seen += table[1]++; return bpf_map_lookup_elem(&points, &key) != 0; }
SEC("xdp") int drop(void *ctx) { return 1; }
SEC("syscall") int only_run(void *ctx) { return 0; }
"""
REPLACES = 'SEC("freplace") int other(struct __sk_buff *skb) { return 1; }'


class Mistake(NamedTuple):
    """One made on the collection itself, by `lskel.load`'s arguments, and on the command line."""

    on: Callable[[Any], object]
    options: Mapping[str, Any] | None = None
    command: tuple[str, ...] = ()
    source: str = SOURCE


def variable(path: str, text: str, on: Callable[[Any], object]) -> Mistake:
    return Mistake(on, {"variables": {path: text}}, ("--set", f"{path}={text}"))


def put(path: str, value: object) -> Callable[[Any], object]:
    """Assign to a path of attributes and indexes."""

    def run(bpf: Any) -> None:
        exec(f"bpf.{path} = value", {"bpf": bpf, "value": value})

    return run


def kconfig(name: str, value: str) -> Mistake:
    def run(bpf: Any) -> None:
        bpf.maps.kconfig.configured[name] = value
        bpf.load()

    return Mistake(run, {"kconfig": {name: value}}, ("--kconfig", f"{name}={value}"))


def setting(of: str, name: str, attribute: str, value: object, text: str = "") -> Mistake:
    """An attribute of a map or program, by each door."""
    where, option = ("maps", "--map") if of == "map" else ("progs", "--prog")
    argument = "maps" if of == "map" else "programs"

    def run(bpf: Any) -> None:
        setattr(getattr(bpf, where)[name], attribute, value)

    command = (option, f"{name}.{attribute}={text or value}")
    return Mistake(run, {argument: {name: {attribute: value}}}, command)


MISTAKES = {
    "map": Mistake(
        lambda bpf: bpf.maps["pints"], {"max_entries": {"pints": 1}}, ("--max-entries", "pints=1")
    ),
    "map as attribute": Mistake(lambda bpf: bpf.maps.pints, {"max_entries": {"pints": 1}}),
    "no entries": Mistake(
        put("maps.points.max_entries", 0),
        {"max_entries": {"points": 0}},
        ("--max-entries", "points=0"),
    ),
    "too many entries": Mistake(
        put("maps.points.max_entries", 1 << 32),
        {"max_entries": {"points": 1 << 32}},
        ("--max-entries", f"points={1 << 32}"),
    ),
    "entries of variables": Mistake(
        put("maps.bss.max_entries", 2),
        {"max_entries": {"test.bss": 2}},
        ("--max-entries", "test.bss=2"),
    ),
    "program": Mistake(lambda bpf: bpf.progs["cuont"], {"autoload": {"cuont": False}}),
    "program as attribute": Mistake(lambda bpf: bpf.progs.cuont, {"targets": {"cuont": "x"}}),
    "attribute of a map": setting("map", "points", "value_sise", 4),
    "attribute of a program": setting("prog", "count", "flag", 4),
    "attribute of a map that is none": Mistake(
        lambda bpf: bpf.maps["pints"],
        {"maps": {"pints": {"value_size": 4}}},
        ("--map", "pints.value_size=4"),
    ),
    "map type": setting("map", "points", "type", "hsah"),
    "map flag": setting("map", "points", "map_flags", "no_prealloc|mmap"),
    "value_size too large": setting("map", "points", "value_size", 1 << 32),
    "map_extra too large": setting("map", "points", "map_extra", 1 << 64),
    "value_size that is a text": setting("map", "points", "value_size", "four"),
    "no entries by attribute": setting("map", "points", "max_entries", 0),
    "type of variables": setting("map", "test.bss", "type", "hash"),
    "size of kconfig values": setting("map", ".kconfig", "value_size", 400),
    "autocreate": setting("map", "points", "autocreate", "maybe"),
    "pin path": Mistake(put("maps.points.pin_path", 5), {"maps": {"points": {"pin_path": 5}}}),
    "inner map of what has none": Mistake(
        lambda bpf: bpf.maps.points.inner_map.key_size,
    ),
    "program type": setting("prog", "drop", "type", "xpd"),
    "attach type": setting("prog", "drop", "expected_attach_type", "xpd"),
    "program flag": setting("prog", "drop", "flags", "sleepy"),
    "log level": setting("prog", "drop", "log_level", 8),
    "target that is a number": Mistake(
        put("progs.count.target", 5), {"programs": {"count": {"target": 5}}}
    ),
    "a target that is said": Mistake(
        lambda bpf: (put("progs.count.target", "sys_exit")(bpf), bpf.load()),
        {"targets": {"count": "sys_exit"}},
        ("--target", "count=sys_exit"),
    ),
    "no target": Mistake(lambda bpf: bpf.load(), {}, ("--no-autoload", "none"), REPLACES)._replace(
        command=("--kconfig",)
    ),
    "section": variable("rodatta.limit", "1", lambda bpf: bpf.rodatta),
    "variable": variable("rodata.limitt", "1", put("rodata.limitt", 1)),
    "variable of another section": variable("rodata.seen", "1", put("rodata.seen", 1)),
    "member": variable("rodata.origin.z", "1", put("rodata.origin.z", 1)),
    "too large": variable("rodata.limit", str(1 << 32), put("rodata.limit", 1 << 32)),
    "negative": variable("rodata.limit", "-1", put("rodata.limit", -1)),
    "member too large": variable("rodata.origin.y", "256", put("rodata.origin.y", 256)),
    "element too large": variable("data.table[1]", str(1 << 31), put("data.table[1]", 1 << 31)),
    "not a bool": variable("rodata.verbose", "2", put("rodata.verbose", 2)),
    "elements": variable("data.table", "1,2", put("data.table", [1, 2])),
    "configuration": kconfig("CONFIG_HZZ", "1"),
    "value of configuration": kconfig("CONFIG_BPF", "maybe"),
}
# These must not be said on the command line, where other programs are meant.
ONLY_PYTHON = {"no target"}


def loader_of(source: str) -> Loader:
    return lskel.generate(lskel.open_object(compile_bpf(source), "test"), "auto")


def caught(action: Callable[[], object]) -> LskelError:
    with pytest.raises(LskelError) as error:
        action()
    return error.value


@pytest.mark.kernel
@pytest.mark.parametrize("name", MISTAKES)
def test_the_same_error(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mistake = MISTAKES[name]
    loader = loader_of(mistake.source)
    errors = []
    for opened in (by_module(loader), lskel.load(loader)):
        with opened as bpf:
            errors.append(caught(lambda bpf=bpf: mistake.on(bpf)))  # type: ignore[misc]
    if mistake.options is not None:
        errors.append(caught(lambda: lskel.load(loader, **mistake.options).load()))  # type: ignore[arg-type]
    said = {(type(error).__name__, error.what, error.hint) for error in errors}
    assert len(said) == 1, said
    if mistake.command and name not in ONLY_PYTHON:
        path = tmp_path / "test.bpf.o"
        path.write_bytes(compile_bpf(mistake.source))
        assert main(["load", str(path), *mistake.command]) == 1
        error = capsys.readouterr().err
        assert errors[0].what in error and errors[0].hint in error
        assert error.count("\n") == 1


def test_there_are_twenty() -> None:
    assert len(MISTAKES) >= 20


SAID = {
    "attribute of a map": "map 'points': no setting 'value_sise' (available: type, key_size, ",
    "attribute of a program": "program 'count': no setting 'flag' (available: type, ",
    "value_size that is a text": "map 'points': expected a number, got 'four'",
    "autocreate": "map 'points': expected True or False, got 'maybe'",
    "log level": "program 'drop': no log level 8 (1 and 2 as BPF_LOG_LEVEL1 and 2, 4 for ",
}


@pytest.mark.parametrize("name", SAID)
def test_what_is_said(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The map or program is named, and what was typed is shown."""
    path = tmp_path / "test.bpf.o"
    path.write_bytes(compile_bpf(SOURCE))
    for command in (["trace", str(path)], ["gen", str(path), "-o", str(tmp_path / "x.lskel")]):
        assert main([*command, *MISTAKES[name].command]) == 1
        assert capsys.readouterr().err.startswith(f"lskel: {path}: {SAID[name]}")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"maps": {"points": 3}}, "maps: 'points': expected a dict of attributes, got int"),
        ({"programs": {"drop": "xdp"}}, "programs: 'drop': expected a dict of attributes, got 'x"),
        ({"maps": "points"}, "maps: expected a dict by name, got 'points'"),
        ({"pin_root": 3}, "pin_root: expected a path, got int"),
        ({"event_types": {"events": 3}}, "map 'events': expected the name of a type, got int"),
    ],
)
def test_arguments_of_other_types(options: dict[str, Any], said: str) -> None:
    loader = loader_of(SOURCE)
    error = caught(lambda: lskel.load(loader, **options))
    assert type(error) is lskel.WrongType and said in str(error)


# What is wrong once it is loaded; options and the command line come before that.
LATE: dict[str, Callable[[Any], object]] = {
    "a constant": put("rodata.limit", 5),
    "the size": put("maps.points.max_entries", 5),
    "whether it is loaded": put("progs.count.autoload", False),
    "the type of a map": put("maps.points.type", "array"),
    "the flags of a map": put("maps.points.map_flags", 1),
    "the size of a section": put("maps.bss.value_size", 400),
    "whether it is created": put("maps.points.autocreate", False),
    "where it is pinned": put("maps.points.pin_path", "/sys/fs/bpf/x"),
    "the type of a program": put("progs.drop.type", "sched_cls"),
    "the flags of a program": put("progs.drop.flags", 0),
    "the log of a program": put("progs.drop.log_level", 1),
    "a second load": lambda bpf: bpf.load(),
    "a key": lambda bpf: bpf.maps.points["text"],
    "a value": lambda bpf: bpf.maps.points.update({1: 5}),
    "no element": lambda bpf: bpf.maps.points[77],
    "an interface": lambda bpf: bpf.progs.drop.attach("no-such-one"),
    "what attaches to nothing": lambda bpf: bpf.progs.only_run.attach(),
    "after the end": lambda bpf: (bpf.close(), bpf.maps.points.fileno()),
    "attaching after the end": lambda bpf: (bpf.close(), bpf.attach()),
}


@pytest.mark.kernel
@pytest.mark.parametrize("name", LATE)
def test_the_same_error_once_it_is_loaded(name: str) -> None:
    loader = loader_of(SOURCE)
    said = set()
    for opened in (by_module(loader), lskel.load(loader)):
        with opened as bpf:
            bpf.load()
            error = caught(lambda bpf=bpf: LATE[name](bpf))  # type: ignore[misc]
            said.add((type(error).__name__, str(error)))
    assert len(said) == 1, said
