"""Parsing a BPF ELF file to an Object."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from lskel.btf.btf import Btf
from lskel.btf.ext import BtfExt, parse_ext
from lskel.elf.format import Bind
from lskel.elf.object import Elf
from lskel.errors import BadObject, LskelError, at, printable
from lskel.input import read_input
from lskel.object.data import parse_data, with_arena_data
from lskel.object.exceptions import ExceptionCallbacks
from lskel.object.externs import parse_externs, parse_kconfig
from lskel.object.fixup import fix_up
from lskel.object.functions import TEXT, FunctionLayout, build_function
from lskel.object.legacy import parse_legacy_maps
from lskel.object.maps import parse_maps
from lskel.object.model import Function, Object, ProgramSpec
from lskel.object.pointers import pointer_remarks
from lskel.object.relocations import Resolver
from lskel.object.sections import parse_section
from lskel.object.struct_ops import parse_struct_ops
from lskel.object.tail_calls import with_types


def open_object(source: str | os.PathLike[str] | bytes, name: str | None = None) -> Object:
    """Read a BPF ELF object from a path, or from its bytes.

    `name` is the object's name, a prefix of its data map names; by default the file name up to the
    first dot, or `object` for bytes. BadObject (with file, section, symbol and offset) if the file
    is invalid, NotSupported if it has something that lskel cannot load, UsageError if the file
    cannot be read.
    """
    if isinstance(source, bytes):
        return _open(source, name or "object")
    with at(os.fspath(source)):
        return _open(read_input(source), name or default_name(source))


def default_name(path: str | os.PathLike[str]) -> str:
    """The default name of an object: its file name up to the first dot.

    Unprintable characters are escaped: names are written to bundles and terminals.
    """
    return printable(Path(path).name.split(".", 1)[0]) or "object"


def _open(data: bytes, name: str) -> Object:
    try:
        return _read(Elf(data), name)
    except LskelError:
        raise
    except RecursionError as error:
        raise BadObject("types or calls are nested too deeply") from error


def _read(elf: Elf, name: str) -> Object:
    layout = FunctionLayout(elf)
    raw_btf = _btf(elf)
    btf = fix_up(elf, raw_btf, _hidden_subprograms(layout)) if raw_btf else None
    ext = _btf_ext(elf, btf)
    externs = parse_externs(elf, raw_btf)
    legacy = parse_legacy_maps(elf, layout)
    maps = (
        *with_arena_data(elf, legacy.maps + parse_maps(elf, btf, layout)),
        *parse_data(elf, btf, name),
        *parse_kconfig(btf, externs.values(), name),
        *parse_struct_ops(elf, btf),
    )
    _refuse_duplicates("map", ((a_map.name, a_map.section) for a_map in maps))
    relocations = Resolver(elf, layout, maps, externs).collect()
    callbacks = ExceptionCallbacks(btf)

    programs: list[ProgramSpec] = []
    subprograms: list[Function] = []
    for section_index, places in layout.by_section.items():
        section = elf.sections[section_index]
        code = elf.content(section)
        spec = parse_section(section.name)
        function: Function | None = None
        for place in places:
            if function is not None and function.start == place.start:
                function = replace(function, name=place.symbol.name)
            else:
                relocs = relocations.get((section_index, place.start), ())
                function = build_function(elf, ext, place, code, relocs)
            if section.name == TEXT:
                subprograms.append(function)
            else:
                callback = callbacks.of(function.func_info, elf.order)
                programs.append(ProgramSpec(function, spec, spec.autoload, callback))
    _refuse_duplicates("program", ((p.name, p.function.section) for p in programs))
    return Object(
        name=name,
        order=elf.order,
        license=_license(elf),
        kernel_version=_kernel_version(elf),
        btf=btf,
        maps=maps,
        programs=with_types(maps, programs),
        subprograms=tuple(subprograms),
        externs=tuple(externs.values()),
        sections=tuple((section.name, section.size) for section in elf.sections if section.name),
        remarks=legacy.remarks + pointer_remarks(elf),
        elf=elf,
    )


def _refuse_duplicates(what: str, sections: Iterable[tuple[str, str]]) -> None:
    """BadObject where two maps or programs, given with their sections, have one name.

    Static ones of objects that were linked may have.
    """
    seen: dict[str, str] = {}
    for name, section in sections:
        if name in seen:
            raise BadObject(f"sections {seen[name]} and {section}: two {what}s '{name}'")
        seen[name] = section


def _hidden_subprograms(layout: FunctionLayout) -> frozenset[str]:
    return frozenset(
        place.symbol.name
        for places in layout.by_section.values()
        for place in places
        if place.section.name == TEXT and place.symbol.bind != Bind.LOCAL and place.symbol.is_hidden
    )


def _btf(elf: Elf) -> Btf | None:
    section = elf.section(".BTF")
    if section is None:
        return None
    with at("section .BTF"):
        btf = Btf(elf.content(section))
        if btf.order != elf.order:
            raise BadObject(f"BTF is {btf.order}-endian, the file {elf.order}-endian")
        return btf


def _btf_ext(elf: Elf, btf: Btf | None) -> BtfExt:
    section = elf.section(".BTF.ext")
    if section is None or btf is None:
        return BtfExt({}, {}, {})
    with at("section .BTF.ext"):
        return parse_ext(elf.content(section), btf)


def _license(elf: Elf) -> str:
    section = elf.section("license")
    if section is None:
        return ""
    return elf.content(section).split(b"\0", 1)[0].decode("utf-8", "backslashreplace")


def _kernel_version(elf: Elf) -> int:
    section = elf.section("version")
    if section is None:
        return 0
    content = elf.content(section)
    if len(content) != 4:
        raise BadObject(f"section version: expected 4 bytes, got {len(content)}")
    return int.from_bytes(content, elf.order)
