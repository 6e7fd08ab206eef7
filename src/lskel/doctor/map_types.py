"""Map types: the smallest map of each type is created once."""

from __future__ import annotations

import mmap
from contextlib import ExitStack

from lskel.bpf.enums import MapType
from lskel.bpf.names import enum_name
from lskel.catalog.map_types import MAP_TYPES, MAPS_OF_MAPS, MapBtf, MapTypeRow
from lskel.doctor import bpf_objects
from lskel.doctor.finding import (
    NETWORK_RIGHTS,
    TRACING_RIGHTS,
    Finding,
    Probe,
    kernel_with,
    refused,
    yes,
)
from lskel.errors import LskelError


def _make(row: MapTypeRow) -> None:
    """Create the smallest map of a type and close it; LskelError if the kernel refuses."""
    sizes = [ranges[0].low for ranges in (row.keys, row.values, row.entries)]
    if row.page_sized:
        sizes[2] = mmap.PAGESIZE
    fields: dict[str, int] = {"map_flags": row.required_flags}
    with ExitStack() as stack:
        if row.type in MAPS_OF_MAPS:
            fields["inner_map_fd"] = stack.enter_context(bpf_objects.array()).fileno()
        if row.btf is MapBtf.REQUIRED:
            btf = bpf_objects.btf_builder()
            number = btf.add_int()
            sizes[1] = sizes[0]
            fields["btf_fd"] = stack.enter_context(bpf_objects.load_btf(btf)).fileno()
            fields["btf_key_type_id"] = fields["btf_value_type_id"] = number
        bpf_objects.create_map(row.type, *sizes, **fields).close()


def _probe(row: MapTypeRow) -> Probe:
    def run() -> Finding:
        try:
            _make(row)
        except LskelError as error:
            rights = NETWORK_RIGHTS if row.network else TRACING_RIGHTS
            return refused(error, kernel_with(row.since, row.config), rights)
        return yes()

    name = enum_name(MapType, row.type)
    return Probe(f"maps.{name}", name, run, ("permission.maps",))


# A struct_ops map needs a kernel struct, found by name.
PROBES = tuple(_probe(row) for row in MAP_TYPES if row.btf is not MapBtf.KERNEL_VALUE)
