"""Damage to bundles: the archive, the JSON in it, the blob with its records, the instructions."""

from __future__ import annotations

import io
import json
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable
from copy import deepcopy
from random import Random
from typing import Any

from tests.fuzz.damage import EDGES, in_place, number, resize
from tests.fuzz.names import NAMES

_INSN = _RECORD = 8
# What reading a seed raises that is damaged itself.
_UNREADABLE = (
    *(
        zipfile.BadZipFile,
        NotImplementedError,
        EOFError,
        RuntimeError,
        OSError,
        zlib.error,
        lzma.LZMAError,
    ),
    *(LookupError, ValueError, TypeError, AttributeError),
)
# Members are smaller.
_MOST = 1 << 20
# What json.dumps cannot write, and what takes its place in the text.
_RAW = "\u2603"
_RAW_VALUES = (
    *("9" * 5000, "-" + "9" * 400, "1e999", "NaN", "Infinity", "-0", "1.5", "0x10", "tru"),
    *("[" * 100_000, '{"a":' * 20_000, "[" * 3000 + "]" * 3000),
    "[" + "0," * 20_000 + "0]",
    '{"ref":0,"ref":1}',
    '"\\ud800"',
)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, "", [], {}, -1, 1.5, "0", "zz", [0, 0], [[]], {"": 0}),
    *({"ref": 0}, {"ref": -1}, {"input": 0}, {"hex": ""}, {"hex": "0"}, {"blob": [0, 0]}),
    *({"blob": [-1, 8]}, {"blob": [0, 1 << 40]}, {"op": "Close"}, "MapCreate", "STRUCT"),
)


def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: _read(archive, name) for name in archive.namelist()}


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    """A member; seeds may be bombs, whose bytes are damaged as they are."""
    info = archive.getinfo(name)
    is_known = info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    if info.file_size >= _MOST or not is_known:
        raise ValueError(f"{name} is too large, or takes long to read")
    with archive.open(name) as member:
        content = member.read(_MOST)
    if len(content) == _MOST:
        raise ValueError(f"{name} is too large")
    return content


def zipped(members: Iterable[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    """An archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, method)
    return out.getvalue()


def _containers(value: Any) -> list[Any]:
    """The lists and objects in it that hold something."""
    found, todo = [], [value]
    while todo:
        item = todo.pop()
        if item:
            found.append(item)
            inside = item.values() if isinstance(item, dict) else item
            todo += [inner for inner in inside if isinstance(inner, (dict, list))]
    return found


def _other(rng: Random, old: Any, containers: list[Any]) -> Any:
    """What may stand in place of a value."""
    how = rng.randrange(8)
    if how == 0:
        return rng.choice(_VALUES)
    if how == 1:
        return _RAW
    if how == 2:
        return rng.choice(containers)  # of another place
    if isinstance(old, bool):
        return not old
    if isinstance(old, int):
        return number(rng, old) if how < 7 else str(old)
    if isinstance(old, str):
        name = rng.choice(NAMES).decode("utf-8", "surrogateescape")
        return rng.choice((name, name, old + name, rng.choice(EDGES)))
    if isinstance(old, list) and old:
        return rng.choice((old * 2, old[1:], old[::-1], [*old, *old[:1]], dict(enumerate(old))))
    return rng.choice(_VALUES)


def _change_tree(rng: Random, tree: Any) -> None:
    containers = _containers(tree)
    # Those near the top are few, and as important as the many below.
    chosen = rng.choice(containers if rng.random() < 0.7 else containers[: 1 + len(tree)])
    keys = list(chosen) if isinstance(chosen, dict) else list(range(len(chosen)))
    key = rng.choice(keys)
    how = rng.randrange(10)
    if how == 0:
        del chosen[key]
    elif how == 1:
        second = rng.choice(keys)
        chosen[key], chosen[second] = chosen[second], chosen[key]
    else:
        # Copied, so that nothing is in two places, or in itself.
        chosen[key] = deepcopy(_other(rng, chosen[key], containers))


def _json(rng: Random, content: bytes) -> bytes:
    tree = json.loads(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        _change_tree(rng, tree)
    text = json.dumps(tree).replace(json.dumps(_RAW), rng.choice(_RAW_VALUES))
    data = bytearray(text.encode())
    if rng.random() < 0.05:  # a key twice
        at = data.index(b"{") + 1
        data[at:at] = b'"name":"x","ops":[],'
    if rng.random() < 0.05:
        in_place(rng, data, 0, len(data))
    return bytes(data)


def _aligned(rng: Random, content: bytes, step: int) -> bytes:
    """Instructions or records: one changed, dropped, doubled, or its number or field set."""
    data = bytearray(content)
    count = len(data) // step
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(count) * step if count else 0
        how = rng.randrange(6)
        if how == 0:
            del data[at : at + step]
            data += bytes(step)
        elif how == 1:
            data[at:at] = data[at : at + step]
        else:
            in_place(rng, data, at, min(at + step, len(data)))
    return bytes(data)


def _blob(rng: Random, members: dict[str, bytes]) -> None:
    """The blob, mostly within one of the regions that the description names."""
    data = bytearray(members["blob.bin"])
    regions = json.loads(members["lskel.json"])["regions"]
    kinds = sorted({region[2] for region in regions})
    kind = rng.choice(kinds)
    offset, size = rng.choice([region for region in regions if region[2] == kind])[:2]
    data[offset : offset + size] = _aligned(rng, bytes(data[offset : offset + size]), _RECORD)
    members["blob.bin"] = bytes(data)


def _description(rng: Random, members: dict[str, bytes]) -> None:
    members["lskel.json"] = _json(rng, members["lskel.json"])


def _insns(rng: Random, members: dict[str, bytes]) -> None:
    members["insns.bin"] = _aligned(rng, members["insns.bin"], _INSN)


def _resized(rng: Random, members: dict[str, bytes]) -> None:
    name = rng.choice(list(members))
    data = bytearray(members[name])
    resize(rng, data)
    members[name] = bytes(data)


Change = Callable[[Random, dict[str, bytes]], None]
_CHANGES: tuple[Change, ...] = (*[_description] * 6, *[_blob] * 3, *[_insns] * 2, _resized)


def _archive(rng: Random, members: dict[str, bytes]) -> bytes:
    """An archive with something wrong in it, though each member is right."""
    items = list(members.items())
    how = rng.randrange(6)
    if how == 0:
        del items[rng.randrange(len(items))]
    elif how == 1:
        items.append(rng.choice(items))
    elif how == 2:
        items.append((rng.choice(NAMES[:-3]).decode("utf-8", "replace"), b"x"))
    elif how == 3:
        rng.shuffle(items)
    method = rng.choice(
        (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    )
    data = bytearray(zipped(items, method if rng.random() < 0.5 else zipfile.ZIP_STORED))
    for _ in range(rng.randint(how > 3, 2)):
        _archive_header(rng, data)
    return bytes(data)


def _archive_header(rng: Random, data: bytearray) -> None:
    """A field of a header: flags, method, CRC, sizes, lengths of names, offsets, counts."""
    found = []
    for sign, length in ((b"PK\x03\x04", 30), (b"PK\x01\x02", 46), (b"PK\x05\x06", 22)):
        at = data.find(sign)
        while at >= 0:
            found.append((at, length))
            at = data.find(sign, at + 1)
    if not found:
        return
    at, length = rng.choice(found)
    field = at + 4 + 2 * rng.randrange((length - 4) // 2)
    form = rng.choice(("<H", "<I"))
    value = number(rng, 0, (*range(16), 99, len(data))) % (1 << 8 * struct.calcsize(form))
    if field + struct.calcsize(form) <= len(data):
        struct.pack_into(form, data, field, value)


def damaged_bundle(rng: Random, seed: bytes, other: bytes) -> bytes:
    """A bundle, damaged in its members or as an archive; `other` is one to take members of."""
    try:
        members = _members(seed)
        if rng.random() < 0.03:
            name = rng.choice(list(members))
            members[name] = _members(other)[name]
        for _ in range(rng.choice((1, 1, 1, 2))):
            rng.choice(_CHANGES)(rng, members)
        return _archive(rng, members) if rng.random() < 0.12 else zipped(members.items())
    except _UNREADABLE:
        data = bytearray(seed)
        in_place(rng, data, 0, len(data))
        return bytes(data)
