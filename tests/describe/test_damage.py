"""Damaged objects and bundles: they are described, or refused with an `LskelError`."""

from __future__ import annotations

import io
import json
import zipfile
from functools import cache
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from lskel.describe.listing import listing
from lskel.describe.loader_listing import loader_listing
from lskel.describe.plain import plain
from lskel.describe.summary import summarize
from lskel.errors import LskelError
from lskel.loader.bundle import DESCRIPTION, dump
from lskel.loader.generate import generate
from lskel.loader.model import Form, Loader
from lskel.object.model import Object
from lskel.object.open import open_object
from tests.build.clang import compile_bpf
from tests.describe.samples import ASKING, EXAMPLE_OBJECTS
from tests.fuzz.mutate import mutated


@cache
def objects() -> list[bytes]:
    return [compile_bpf(ASKING), *(path.read_bytes() for path in EXAMPLE_OBJECTS)]


@cache
def sound_bundles() -> list[bytes]:
    return [dump(generate(open_object(data), form)) for data in objects() for form in Form]


SETTINGS = settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def describe(source: Object | Loader) -> None:
    """All that there is to say about it."""
    json.dumps(plain(summarize(source)))
    names = [program.name for program in summarize(source).programs]
    json.dumps([plain(item) for item in listing(source, names)])
    if isinstance(source, Loader):
        json.dumps(plain(loader_listing(source)))


@given(st.deferred(lambda: mutated(objects())))
@SETTINGS
def test_objects(data: bytes) -> None:
    try:
        describe(open_object(data))
    except LskelError as error:
        assert str(error)


_LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(1 << 65), 1 << 65), st.integers(-1, 99), st.text()
)


def _replace(draw: DrawFn, value: Any) -> Any:
    """`value` with one of its leaves replaced."""
    if isinstance(value, dict | list) and value:
        place = draw(
            st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value)))
        )
        value[place] = _replace(draw, value[place])
        return value
    return draw(_LEAVES)


@st.composite
def bundles(draw: DrawFn) -> bytes:
    with zipfile.ZipFile(io.BytesIO(draw(st.sampled_from(sound_bundles())))) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    description = json.loads(members[DESCRIPTION])
    for _ in range(draw(st.integers(1, 3))):
        key = draw(st.sampled_from(["ops", *sorted(description)]))
        description[key] = _replace(draw, description[key])
    members[DESCRIPTION] = json.dumps(description).encode()
    for name in sorted(members.keys() - {DESCRIPTION}):
        content = bytearray(members[name])
        for _ in range(draw(st.integers(0, 3))):
            content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
        members[name] = bytes(content)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return out.getvalue()


@given(bundles())
@SETTINGS
def test_bundles(data: bytes) -> None:
    try:
        describe(Loader.load(data))
    except LskelError as error:
        assert str(error)
