"""On other kernels, too, lskel's loaders load what libbpf loads, and what bpftool's loaders do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests import corpus
from tests.vm import selftests
from tests.vm.job import Job
from tests.vm.machine import Machine
from tests.vm.selftests import Result, Way

# One object in so many, and some with what depends on the kernel; or all (make test-vm-all).
STEP = 4
WHOLE = os.environ.get("LSKEL_VM_WHOLE") == "1"
ALWAYS = frozenset(
    {
        *("bpf_cubic", "bpf_dctcp", "dummy_st_ops"),  # struct_ops
        *("kfunc_call_test_subprog", "map_kptr", "test_lookup_key"),  # kernel functions
        *("test_bpf_nf", "test_bpf_nf_fail"),  # of a module
        *("test_ksyms", "test_ksyms_btf", "test_ksyms_weak", "test_ksyms_module", "kprobe_multi"),
        *("test_core_extern", "bpf_syscall_macro", "lsm_cgroup", "test_usdt"),  # configuration
        *("test_prog_array_init", "test_autoload", "test_pinning", "test_sk_assign_libbpf"),
        "btf__core_reloc_nesting___err_too_deep",  # its BTF is refused
    }
)
# Emulated, the verifier takes more than 5 seconds for these.
SLOW = frozenset(
    {
        *("loop1", "loop3", "pyperf50", "pyperf100", "pyperf180", "pyperf600"),
        *("strobemeta_bpf_loop", "xdp_synproxy_kern"),
    }
)
LIMIT = 120 if WHOLE else 30

# What libbpf loads and lskel does not, and why.
DEVIATIONS: dict[str, str] = {}


@cache
def sample() -> list[Path]:
    paths = corpus.objects()
    if WHOLE:
        return paths
    wanted = {path.stem for path in paths[::STEP]} - SLOW | ALWAYS | DEVIATIONS.keys()
    return [path for path in paths if path.stem in wanted]


def plan(directory: Path) -> Iterator[Job]:
    if not corpus.missing():
        yield selftests.MODULES
        yield from selftests.jobs(sample(), directory, LIMIT)


pytestmark = [
    pytest.mark.vm(jobs=plan),
    pytest.mark.corpus,
    pytest.mark.usefixtures("corpus_tools"),
]


def test_the_sample() -> None:
    names = {path.stem for path in sample()}
    assert len(names) >= 100
    assert names >= ALWAYS | DEVIATIONS.keys()
    assert {path.stem for path in corpus.objects()} >= SLOW
    assert WHOLE or not SLOW & names


def test_as_libbpf(machine: Machine) -> None:
    verdicts = selftests.verdicts(sample(), machine.outcomes)
    loaded = [v for v in verdicts[Way.LIBBPF].values() if v.result is Result.LOADED]
    print(f"libbpf loads {len(loaded)} of {len(sample())} objects")
    assert len(loaded) >= 50
    differ = selftests.only(verdicts, Way.LIBBPF, Way.LSKEL)
    assert {name: why for name, why in differ.items() if name not in DEVIATIONS} == {}
    assert differ.keys() >= DEVIATIONS.keys(), "some deviations are none any more"


def test_as_bpftool(machine: Machine) -> None:
    verdicts = selftests.verdicts(sample(), machine.outcomes)
    assert selftests.only(verdicts, Way.BPFTOOL, Way.LSKEL) == {}


def test_every_load_ends(machine: Machine) -> None:
    assert machine.value(selftests.MODULES.name) is None
    verdicts = selftests.verdicts(sample(), machine.outcomes)
    bad = (Result.SLOW, Result.BROKEN)
    assert {
        f"{name} by {way.value}": verdict
        for way in Way
        for name, verdict in verdicts[way].items()
        if verdict.result in bad and name not in SLOW
    } == {}
