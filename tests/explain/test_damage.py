"""Damaged objects and bundles: explained, or refused with an `LskelError`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lskel.errors import LskelError
from lskel.explain.build import Given, explain
from lskel.explain.page import page
from lskel.loader.model import Loader
from lskel.object.open import open_object
from tests.describe.test_damage import SETTINGS, bundles, objects
from tests.explain.samples import of_object
from tests.fuzz.mutate import mutated


@given(st.deferred(lambda: mutated(objects())))
@SETTINGS
def test_objects(data: bytes) -> None:
    try:
        page(explain(of_object(open_object(data), "damaged.o")))
    except LskelError as error:
        assert str(error)


@given(bundles())
@SETTINGS
def test_bundles(data: bytes) -> None:
    try:
        loader = Loader.load(data)
        page(explain(Given("damaged.lskel", loader, loader)))
    except LskelError as error:
        assert str(error)
