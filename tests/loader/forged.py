"""Bundles whose members are not what lskel wrote."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

from lskel.loader.bundle import BLOB, DESCRIPTION, INSNS

Members = dict[str, Any]


def forge(bundle: bytes, change: Callable[[Members], object]) -> bytes:
    """The bundle after `change` of its members: the description as a dict, bytes as bytearrays."""
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        members: Members = {
            DESCRIPTION: json.loads(archive.read(DESCRIPTION)),
            **{name: bytearray(archive.read(name)) for name in (BLOB, INSNS)},
        }
    change(members)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            plain = json.dumps(content) if name == DESCRIPTION else bytes(content)
            archive.writestr(name, plain)
    return out.getvalue()


def resize_in_blob(members: Members, name: str, max_entries: int) -> None:
    """Make the bytes, and they alone, create map `name` with another size."""
    description = members[DESCRIPTION]
    number, op = next((n, op) for n, op in enumerate(description["ops"]) if op.get("name") == name)
    offset = next(r[0] for r in description["regions"] if r[2] == "attr" and r[3] == number)
    order = description["byte_order"]
    # bpf_attr.max_entries, behind map_type, key_size and value_size
    place = slice(offset + 12, offset + 16)
    assert int.from_bytes(members[BLOB][place], order) == op["max_entries"]
    members[BLOB][place] = max_entries.to_bytes(4, order)


def by_another_version(members: Members) -> None:
    """Say that another lskel wrote it."""
    members[DESCRIPTION]["generator"] = "lskel 0.0.1"


def longer_blob(members: Members) -> None:
    """Bytes that do the same, though they are not the same."""
    members[BLOB] += bytes(8)
