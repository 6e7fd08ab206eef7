"""Bundles: round trips, damage, and what a failure to write leaves."""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lskel
from lskel.loader.bundle import dump, load
from tests.build.clang import EXAMPLES, example

BUNDLE = dump(lskel.generate(lskel.open_object(example("syscount"))))


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.bpf.o")), ids=lambda p: p.name)
def test_round_trip(path: Path, tmp_path: Path) -> None:
    loader = lskel.generate(lskel.open_object(path))
    target = tmp_path / "x.lskel"
    loader.save(target)
    assert lskel.Loader.load(target) == loader
    assert dump(lskel.Loader.load(target)) == target.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["x.lskel"]


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


def rewritten(tmp_path: Path, change: object) -> bytes:
    source, target = tmp_path / "a.zip", tmp_path / "b.zip"
    source.write_bytes(BUNDLE)
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, json.dumps(change) if name == "lskel.json" else content)
    return target.read_bytes()


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_wrong_descriptions(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    tmp_path = tmp_path_factory.mktemp("bundle")
    with zipfile.ZipFile(_file(tmp_path)) as archive:
        description = json.loads(archive.read("lskel.json"))
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


def test_later_version(tmp_path: Path) -> None:
    content = rewritten(tmp_path, {"format": "lskel", "version": 99})
    with pytest.raises(lskel.BadBundle, match="version 99 is unknown, this lskel reads 1"):
        load(content)


def test_failed_write_leaves_nothing(tmp_path: Path) -> None:
    loader = load(BUNDLE)
    with pytest.raises(lskel.UsageError, match="cannot be written"):
        loader.save(tmp_path / "no" / "such" / "x.lskel")
    (tmp_path / "dir").mkdir()
    with pytest.raises(lskel.UsageError, match="cannot be written"):
        loader.save(tmp_path / "dir")
    assert [p.name for p in tmp_path.iterdir()] == ["dir"]


def test_devices_are_written_to_not_replaced() -> None:
    load(BUNDLE).save("/dev/null")
    assert Path("/dev/null").is_char_device()
