"""Every type of map has its class; maps that exist are opened by pin and by id."""

from __future__ import annotations

from pathlib import Path

import pytest

from lskel.bpf.enums import MapType, ProgType
from lskel.errors import UsageError
from lskel.runtime.maps.array import ArrayMap
from lskel.runtime.maps.base import Map
from lskel.runtime.maps.hash import HashMap
from lskel.runtime.maps.kinds import class_path, map_class
from lskel.runtime.maps.programs import ProgArray
from lskel.runtime.objects import obj_pin
from lskel.runtime.syscall import BpfError
from lskel.runtime.values import u32, u64
from tests.runtime.maps.shapes import new
from tests.runtime.programs import load_program, returns


@pytest.mark.parametrize("map_type", sorted(set(MapType)))
def test_every_type_has_a_class(map_type: MapType) -> None:
    found = map_class(map_type)
    assert issubclass(found, Map)
    assert class_path(map_type) == f"{found.__module__}:{found.__name__}"


def test_types_of_other_kernels() -> None:
    assert map_class(9999) is Map


@pytest.mark.kernel
def test_maps_that_exist(bpffs: Path) -> None:
    with new(MapType.HASH, (4, 8), 10, u32, u64) as made:
        made[1] = 2
        made.pin(bpffs / "counts")
        for where in (bpffs / "counts", str(bpffs / "counts"), made.info().id):
            again: HashMap[int, int] = HashMap.open(where, u32, u64)
            assert again == {1: 2}
            again.close()
        assert (again.max_entries, again.name) == (10, "lskel_test")
        made.unpin(bpffs / "counts")
        assert not (bpffs / "counts").exists()


@pytest.mark.kernel
def test_other_maps_than_expected(bpffs: Path) -> None:
    with new(MapType.HASH, (4, 8), 10, u32, u64) as made:
        number = made.info().id
        for wrong, said in (
            (lambda: HashMap.open(number, u32, u32), "values have 8 bytes, expected 4"),
            (lambda: HashMap.open(number, u64, u64), "keys have 4 bytes, expected 8"),
            (lambda: ArrayMap.open(number, u64), "of type hash"),
            (lambda: ProgArray.open(number), "of type hash"),
        ):
            with pytest.raises(UsageError, match=f"map 'lskel_test'.* {said}"):
                wrong()
    with pytest.raises(BpfError, match="nowhere"):
        HashMap.open(bpffs / "nowhere", u32, u64)
    with load_program(ProgType.SOCKET_FILTER, returns(0)) as program:
        obj_pin(program.fileno(), bpffs / "prog")
    with pytest.raises(UsageError, match="expected a map"):
        HashMap.open(bpffs / "prog", u32, u64)
