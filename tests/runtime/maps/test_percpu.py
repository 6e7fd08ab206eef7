"""Maps with a value for each CPU."""

from __future__ import annotations

import errno
import sys
from typing import Any

import pytest

from lskel.bpf.enums import MapType, ProgType
from lskel.runtime.cpus import online_cpus, possible_cpus
from lskel.runtime.maps.percpu import PerCpuArray, PerCpuHash
from lskel.runtime.syscall import BpfError, bpf
from lskel.runtime.values import boolean, raw, text, u8, u32, u64
from tests.conftest import Run
from tests.runtime.maps.made import Traffic, dumped, made
from tests.runtime.programs import counts_in, load_program, run_program

pytestmark = pytest.mark.kernel

CPUS = len(possible_cpus())
HASHES = pytest.mark.parametrize("map_type", [MapType.PERCPU_HASH, MapType.LRU_PERCPU_HASH])


@HASHES
@pytest.mark.parametrize(
    ("size", "type_", "values"),
    [
        (1, u8, list(range(CPUS))),
        (4, u32, [n + 100 for n in range(CPUS)]),
        (8, u64, [1 << 63] * CPUS),
        (1, boolean, [True] * CPUS),
        (5, text(5), [b"ab"] * CPUS),
        (13, raw(13), [bytes(range(13))] * CPUS),
        (16, Traffic, [Traffic(n, n) for n in range(CPUS)]),
    ],
)
def test_a_dict_of_lists(
    map_type: MapType, size: int, type_: Any, values: list[Any], run: Run
) -> None:
    with made(PerCpuHash, map_type, (4, size, 10), u32, type_) as each:
        each[1] = values
        each.update({2: values, 3: [*values]})
        assert each == {1: values, 2: values, 3: values}
        assert each[1] == values
        one = [
            value.to_bytes(size, sys.byteorder) if isinstance(value, int) else bytes(value)
            for value in values
        ]
        assert dumped(run, each.info().id) == {
            n.to_bytes(4, sys.byteorder): [v.ljust(size, b"\0") for v in one] for n in (1, 2, 3)
        }
        assert each.popitem()[1] == values
        each.clear()
        assert not each


def test_an_array_of_lists(run: Run) -> None:
    with made(PerCpuArray, MapType.PERCPU_ARRAY, (4, 4, 3), u32) as each:
        each.update({1: [7] * CPUS})
        assert each[:] == [[0] * CPUS, [7] * CPUS, [0] * CPUS]
        assert each[2] == [0] * CPUS
        words = [[value] * CPUS for value in (bytes(4), (7).to_bytes(4, sys.byteorder), bytes(4))]
        assert list(dumped(run, each.info().id).values()) == words


def test_programs_write_the_values_of_their_cpu() -> None:
    with made(PerCpuArray, MapType.PERCPU_ARRAY, (4, 8, 1), u64) as each:
        with load_program(ProgType.RAW_TRACEPOINT, counts_in(each.fileno())) as program:
            for count, cpu in enumerate(online_cpus(), 1):
                for _ in range(count):
                    run_program(program, cpu=cpu)
        found = dict(zip(possible_cpus(), each[0], strict=True))
        assert found == dict.fromkeys(possible_cpus(), 0) | {
            cpu: count for count, cpu in enumerate(online_cpus(), 1)
        }


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ([1] * (CPUS + 1), ValueError, f"expected {CPUS} values of one size"),
        ([], ValueError, f"expected {CPUS} values"),
        (5, TypeError, f"expected a list of {CPUS} values, got int"),
        (b"12", TypeError, f"expected a list of {CPUS} values, got bytes"),
        (["a"] * CPUS, TypeError, "u32: expected an integer"),
        ([1 << 32] * CPUS, OverflowError, "u32: .* is not in 0"),
    ],
)
def test_what_is_no_list_for_each_cpu(wrong: Any, error: type[Exception], message: str) -> None:
    with made(PerCpuHash, MapType.PERCPU_HASH, (4, 4, 10), u32, u32) as each:
        with pytest.raises(error, match=f"map 'counts': value: {message}"):
            each[1] = wrong
        with pytest.raises(error, match=f"map 'counts': value: {message}"):
            each.update({1: wrong})
        assert each == {}


def test_a_kernel_without_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Per-CPU arrays have them from Linux 5.13."""

    refused = []

    def old_kernel(cmd: int, attr: bytearray) -> int:
        if "BATCH" in getattr(cmd, "name", ""):
            refused.append(cmd)
            raise BpfError(cmd, errno.EOPNOTSUPP)
        return bpf(cmd, attr)

    monkeypatch.setattr("lskel.runtime.kernel.bpf", old_kernel)
    with made(PerCpuArray, MapType.PERCPU_ARRAY, (4, 8, 100), u64) as each:
        each.update({n: [n] * CPUS for n in range(100)})
        assert each[:] == [[n] * CPUS for n in range(100)]
    assert len(refused) == 2
