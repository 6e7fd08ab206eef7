"""Fields of MAP_CREATE and PROG_LOAD that stand in the attr as constants, and may be set.

By the names of `MapCreate` and `ProgLoad`, and of the attributes of maps and programs.
"""

from __future__ import annotations

MAP_FIELDS = {
    "type": "map_type",
    "key_size": "key_size",
    "value_size": "value_size",
    "max_entries": "max_entries",
    "flags": "map_flags",
    "numa_node": "numa_node",
    "map_extra": "map_extra",
    "key_type": "btf_key_type_id",
    "value_type": "btf_value_type_id",
}
PROG_FIELDS = {
    "type": "prog_type",
    "expected_attach_type": "expected_attach_type",
    "flags": "prog_flags",
}
