"""Exception callbacks: where they come to lie, and that the kernel calls them."""

from __future__ import annotations

import re

import pytest

import lskel
from lskel.bpf import insn as i
from lskel.errors import BadObject
from lskel.replay.simulator.kernel import SimulatedKernel
from lskel.replay.simulator.names import AnyName
from lskel.replay.simulator.run import run
from tests.build.clang import compile_bpf
from tests.loads import Load, both

SOURCE = """
#define CALLS(name) __attribute__((btf_decl_tag("exception_callback:" #name)))
#define APART __attribute__((noinline))
extern void bpf_throw(__u64 cookie) __ksym;
int seen;
APART int deep(int x) { return x * 3; }
APART int caught(__u64 cookie) { seen = cookie; return deep(cookie) + 1; }
APART int check(int x) { if (x > 9) bpf_throw(x); return x; }

SEC("tc") CALLS(caught) int throws(struct __sk_buff *skb) { return check(skb->len) + 100; }
int same(struct __sk_buff *skb) __attribute__((alias("throws")));
SEC("tc") CALLS(caught) int knows(struct __sk_buff *skb) { return deep(skb->len) + check(5); }
SEC("tc") int plain(struct __sk_buff *skb) { return check(skb->len); }
"""


def functions(obj: lskel.Object, program: str) -> list[str]:
    """The names of a program's functions, in the order of its code."""
    assert obj.btf is not None
    slot = [p.name for p in obj.programs].index(program)
    op = obj.trace().prog_load(slot)
    assert op is not None
    data = op.func_info.data
    ids = [int.from_bytes(data[at + 4 : at + 8], obj.order) for at in range(0, len(data), 8)]
    assert i.count(op.insns) > max(op.func_info.offsets(obj.order))
    return [obj.btf[lskel.btf.types.TypeId(number)].name for number in ids]


@pytest.mark.parametrize("big_endian", [False, True])
def test_it_comes_last_with_its_own(big_endian: bool) -> None:
    obj = lskel.open_object(compile_bpf(SOURCE, big_endian=big_endian))
    assert functions(obj, "throws") == ["throws", "check", "caught", "deep"]
    # What the program calls itself comes once, where it calls it.
    assert functions(obj, "knows") == ["knows", "deep", "check", "caught"]
    assert functions(obj, "plain") == ["plain", "check"]
    # BTF knows one function of two names.
    assert functions(obj, "same") == functions(obj, "throws")


@pytest.mark.kernel
@both
def test_it_is_called(load: Load) -> None:
    with load(lskel.generate(lskel.open_object(compile_bpf(SOURCE)))) as bpf:
        assert bpf.progs["throws"].run(bytes(60)).value == 60 * 3 + 1
        assert bpf.bss.seen == 60
        assert bpf.progs["same"].run(bytes(20)).value == 20 * 3 + 1
        # Without a callback of its own the program returns what is thrown.
        assert bpf.progs["plain"].run(bytes(20)).value == 20


@pytest.mark.parametrize("tag", ["CALLS(caught)", "CALLS(caught) CALLS(deep)"])
def test_in_the_simulator(tag: str) -> None:
    """As in the kernel: it has a record, though nothing calls it; of several there is none."""
    source = SOURCE.replace("CALLS(caught) int throws", f"{tag} int throws")
    loader = lskel.generate(lskel.open_object(compile_bpf(source)))
    replay = run(loader, kernel=SimulatedKernel("little", names=AnyName()))
    assert replay.value == 0


def test_missing() -> None:
    """The program cannot be loaded; without it the object can."""
    obj = lskel.open_object(compile_bpf(SOURCE.replace("CALLS(caught)", "CALLS(nobody)")))
    told = "program 'throws': its exception callback 'nobody' is not a function of .text"
    with pytest.raises(BadObject, match=re.escape(told)):
        obj.trace()
    for name in ("throws", "same", "knows"):
        obj = obj.with_program(name, autoload=False)
    assert functions(obj, "plain") == ["plain", "check"]


def test_several() -> None:
    """The verifier refuses them, so none is appended."""
    twice = SOURCE.replace("CALLS(caught) int throws", "CALLS(caught) CALLS(deep) int throws")
    obj = lskel.open_object(compile_bpf(twice))
    assert functions(obj, "throws") == ["throws", "check"]
