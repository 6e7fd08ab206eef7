"""The objects that are measured: an example, selftests, and generated ones of any size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tests import corpus
from tests.build.clang import compile_bpf, example

COUNTS = (1, 10, 30, 100, 300, 1000)
# Many programs; programs and maps; much data; a program that takes the verifier long.
_SELFTESTS = ("test_tunnel_kern", "test_l4lb", "test_xdp_noinline", "test_verif_scale2")


def real() -> dict[str, Path]:
    """An example, and selftests of various kinds."""
    paths = {path.stem: path for path in corpus.objects()}
    return {"hello": example("hello")} | {n: paths[n] for n in _SELFTESTS if n in paths}


def generated(kind: str, count: int, scratch: Path) -> Path:
    """An object with `count` programs, maps or kfunc calls."""
    path = scratch / f"{kind.replace(' ', '_')}_{count}.bpf.o"
    if not path.exists():
        path.write_bytes(compile_bpf(KINDS[kind](count)))
    return path


def _programs(count: int) -> str:
    return "".join(
        f'SEC("raw_tp/sys_enter") int p{n}(void *ctx) {{ return 0; }}\n' for n in range(count)
    )


def _maps(count: int) -> str:
    maps = "".join(
        "struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, int); "
        f'__type(value, long); }} m{n} SEC(".maps");\n'
        for n in range(count)
    )
    return maps + _programs(1)


def _kfunc_calls(count: int) -> str:
    """One program with pairs of calls; an odd count is rounded up."""
    pairs = "bpf_rcu_read_lock(); bpf_rcu_read_unlock(); " * -(-count // 2)
    return (
        "extern void bpf_rcu_read_lock(void) __ksym;\n"
        "extern void bpf_rcu_read_unlock(void) __ksym;\n"
        f'SEC("raw_tp/sys_enter") int p(void *ctx) {{ {pairs} return 0; }}\n'
    )


KINDS: Mapping[str, Callable[[int], str]] = {
    "programs": _programs,
    "maps": _maps,
    "kfunc calls": _kfunc_calls,
}
