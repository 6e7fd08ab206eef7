"""Bundles: round trips, damage, and what a failure to write leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lskel
from lskel.btf.btf import Btf
from lskel.btf.edit import BtfAddition
from lskel.loader.bundle import dump, load
from lskel.trace import EventType
from tests.build.clang import EXAMPLES, compile_bpf, example

BUNDLE = dump(lskel.generate(lskel.open_object(example("syscount"))))


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.bpf.o")), ids=lambda p: p.name)
def test_round_trip(path: Path, tmp_path: Path) -> None:
    loader = lskel.generate(lskel.open_object(path))
    target = tmp_path / "x.lskel"
    loader.save(target)
    assert lskel.Loader.load(target) == loader
    assert dump(lskel.Loader.load(target)) == target.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["x.lskel"]


RING = """
struct sent { unsigned long number; };
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } ring SEC(".maps");
int plain;
SEC("raw_tp/sys_enter") int send(void *ctx)
{
	struct sent *sent = bpf_ringbuf_reserve(&ring, sizeof(*sent), 0);
	if (sent)
		bpf_ringbuf_submit(sent, 0);
	return plain;
}
"""


def test_types_of_events() -> None:
    loader = lskel.generate(lskel.open_object(compile_bpf(RING)))
    assert loader.trace.events and loader.trace.types
    restored = load(dump(loader))
    assert restored == loader and restored.trace.types == loader.trace.types
    # Without BTF of the object, all is new.
    alone = BtfAddition.between(None, Btf(loader.trace.types)).to(None, loader.trace.order)
    assert alone == loader.trace.types


def test_wrong_types_of_events(tmp_path: Path) -> None:
    good = described(tmp_path)
    for events, types, message in (
        ([{"slot": 0, "type": 1}], ["", ""], "map 0 has no events, or they have no types"),
        ([{"slot": 99, "type": 1}], ["", ""], "map 99 has no events, or they have no types"),
        ([{"slot": 0, "type": 1}], ["ff", ""], "types: BTF: "),
        ([{"slot": 0, "type": 1}], ["zz", ""], "non-hexadecimal"),
        ([{"slot": 0, "type": -1}], ["", ""], "-1 is not a number below"),
        ([{"slot": 0, "type": 1}], [""], "TypeError: "),
    ):
        with pytest.raises(lskel.LskelError, match=message):
            load(rewritten(tmp_path, {**good, "events": events, "types": types}))
    made = lskel.generate(lskel.open_object(compile_bpf(RING)))
    wild = replace(made.trace, events=(EventType(0, 1 << 20),))
    with pytest.raises(lskel.LskelError, match="no type"):
        dump(replace(made, trace=wild))


def test_other_tools_read_it(tmp_path: Path) -> None:
    path = tmp_path / "x.lskel"
    path.write_bytes(BUNDLE)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        description = json.loads(archive.read("lskel.json"))
    assert (description["format"], description["version"]) == ("lskel", 1)
    assert next(m["name"] for m in description["maps"]) == "syscalls"
    done = subprocess.run(["file", "-b", str(path)], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        assert "Zip" in done.stdout


@given(st.data())
@settings(max_examples=int(os.environ.get("LSKEL_FUZZ_EXAMPLES", "300")), deadline=None)
def test_damage(data: st.DataObject) -> None:
    """Damaged archives, and sound ones with a wrong description, raise nothing but LskelError."""
    damaged = bytearray(BUNDLE)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    try:
        load(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]))
    except lskel.LskelError as error:
        assert "\n" not in str(error)


def rewritten(tmp_path: Path, change: object, blob: bytes | None = None) -> bytes:
    """The bundle with another description, an object or its text, and perhaps another blob."""
    description = change if isinstance(change, bytes) else json.dumps(change).encode()
    changes = {"lskel.json": description} | ({} if blob is None else {"blob.bin": blob})
    source, target = tmp_path / "a.zip", tmp_path / "b.zip"
    source.write_bytes(BUNDLE)
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, changes.get(name, old.read(name)), zipfile.ZIP_DEFLATED)
    return target.read_bytes()


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_wrong_descriptions(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    tmp_path = tmp_path_factory.mktemp("bundle")
    description = described(tmp_path)
    # Walk to some place in the description and put something else there.
    place = description
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
            place = place[key]
            continue
        break
    odd: st.SearchStrategy[object] = st.one_of(
        st.none(), st.integers(-2, 1 << 65), st.text(max_size=3), st.just([]), st.just({})
    )
    place[key] = data.draw(odd)
    try:
        loader = load(rewritten(tmp_path, description))
        dump(loader)
    except lskel.LskelError as error:
        assert "\n" not in str(error)


def _file(tmp_path: Path) -> Path:
    path = tmp_path / "x.lskel"
    path.write_bytes(BUNDLE)
    return path


def described(tmp_path: Path) -> Any:
    with zipfile.ZipFile(_file(tmp_path)) as archive:
        return json.loads(archive.read("lskel.json"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("[" + "[]," * 600_000 + "[]]", "1200002 values, at most 1048576 allowed"),
        ('{"a":' + "9" * 100_000 + "}", "99999.* is not a 64-bit integer"),
        ('{"a":1e999}', "'1e999' is not a 64-bit integer"),
        ('{"a":NaN}', "'NaN' is not a 64-bit integer"),
        ("\udcff", "can't decode byte"),
    ],
    ids=["deep", "wide", "digits", "float", "nan", "not UTF-8"],
)
def test_json_that_costs_too_much(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(lskel.LskelError, match=message):
        load(rewritten(tmp_path, text.encode("utf-8", "surrogateescape")))


def _changed(tmp_path: Path, change: Callable[[Any], None]) -> bytes:
    description = described(tmp_path)
    change(description)
    return rewritten(tmp_path, description)


def _op(description: Any, kind: str) -> Any:
    return next(op for op in description["ops"] if op["op"] == kind)


@pytest.mark.parametrize("value", [-1, 1 << 32, 1 << 64, True, "1", None])
@pytest.mark.parametrize("field", ["max_entries", "key_size", "flags", "type"])
def test_numbers_fit_their_fields(tmp_path: Path, field: str, value: object) -> None:
    content = _changed(tmp_path, lambda d: _op(d, "MapCreate").update({field: value}))
    with pytest.raises(lskel.BadBundle, match=f"MapCreate: {field}: "):
        load(content)


def test_wider_fields_take_wider_numbers(tmp_path: Path) -> None:
    content = _changed(tmp_path, lambda d: _op(d, "MapCreate").update(map_extra=(1 << 64) - 1))
    assert load(content).trace.map_create(0).map_extra == (1 << 64) - 1


@pytest.mark.parametrize("op", [-2, 10_000, 1 << 64])
def test_regions_are_of_operations(tmp_path: Path, op: int) -> None:
    content = _changed(tmp_path, lambda d: d["regions"].append([0, 4, "data", op, ""]))
    with pytest.raises(lskel.BadBundle, match=f"region .*: {op} is not a number below"):
        load(content)


def test_bytes_that_are_used_often(tmp_path: Path) -> None:
    """Regions and references are small in the description, and large in memory."""
    blob = bytes(64 << 20)
    description = described(tmp_path)
    big = [0, 64 << 20]
    regions = {**description, "regions": [[*big, "data", -1, ""]] * 5}
    references = {**description, "arenas": [{"slot": 0, "initial": {"blob": big}}] * 5}
    for change, what in ((regions, "of regions"), (references, "of references")):
        with pytest.raises(lskel.LimitExceeded, match=rf"\d+ bytes {what}"):
            load(rewritten(tmp_path, change, blob=blob))


def test_long_texts(tmp_path: Path) -> None:
    content = _changed(tmp_path, lambda d: d.update(name="x" * ((1 << 17) + 1)))
    with pytest.raises(lskel.LimitExceeded, match="131073 characters in one text"):
        load(content)


TEXTS = st.one_of(st.text(max_size=4), st.sampled_from(["\ud800", "a\nb", "x" * (1 << 18)]))
NUMBERS = st.one_of(st.integers(0, 1 << 33), st.integers(-2, 1 << 65))


@given(TEXTS, TEXTS, NUMBERS, NUMBERS, NUMBERS)
@settings(max_examples=300, deadline=None)
def test_what_is_written_can_be_read(
    name: str, section: str, entries: int, extra: int, status: int
) -> None:
    """Whatever a loader says: it is refused before it is written, or read as it was."""
    loader = load(BUNDLE)
    trace = loader.trace
    ops = list(trace.ops)
    made = trace.maps[0]
    ops[made.op] = replace(trace.map_create(0), name=name, max_entries=entries, map_extra=extra)
    maps = (made._replace(section=section), *trace.maps[1:])
    changed = replace(
        loader, status=status, trace=replace(trace, name=name, ops=tuple(ops), maps=maps)
    )
    try:
        written = dump(changed)
    except lskel.LskelError as error:
        assert str(error).startswith("cannot be written as a bundle: ")
    else:
        assert load(written) == changed


def test_file_names_that_are_not_utf_8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"n\xff\xe9\x1b.bpf.o")
    path.write_bytes(example("syscount").read_bytes())
    loader = lskel.generate(lskel.open_object(path))
    assert load(dump(loader)) == loader
    done = subprocess.run(
        [sys.executable, "-m", "lskel", "gen", path, "-o", tmp_path / "x.lskel"],
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert load(tmp_path / "x.lskel") == loader


def test_later_version(tmp_path: Path) -> None:
    content = rewritten(tmp_path, {"format": "lskel", "version": 99})
    with pytest.raises(lskel.BadBundle, match="version 99 is unknown, expected 1"):
        load(content)


def test_failed_write_leaves_nothing(tmp_path: Path) -> None:
    loader = load(BUNDLE)
    with pytest.raises(lskel.UsageError, match="cannot write"):
        loader.save(tmp_path / "no" / "such" / "x.lskel")
    (tmp_path / "dir").mkdir()
    with pytest.raises(lskel.UsageError, match="cannot write"):
        loader.save(tmp_path / "dir")
    assert [p.name for p in tmp_path.iterdir()] == ["dir"]


def test_devices_are_written_to_not_replaced() -> None:
    load(BUNDLE).save("/dev/null")
    assert Path("/dev/null").is_char_device()
