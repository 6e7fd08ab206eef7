"""Loaders that attach: load and attach are one run."""

from __future__ import annotations

import os

import pytest

import lskel
from lskel.bpf.enums import AttachType, Cmd
from lskel.loader.bundle import dump
from lskel.loader.model import Form
from lskel.replay.attach import attach_all
from lskel.replay.options import Options
from lskel.replay.simulator.run import run
from lskel.skeleton.dynamic import DynamicCollection
from tests.build.clang import compile_bpf
from tests.loads import load_by_loader, load_directly
from tests.runtime.programs import create_iterator

SOURCE = """
int seen;
SEC("tp_btf/sys_enter") int entered(unsigned long long *ctx)
{ __sync_fetch_and_add(&seen, 1); return 0; }
SEC("iter/bpf_map") int walk(void *ctx) { return 0; }
SEC("raw_tp/sys_enter") int raw(void *ctx) { return 0; }
SEC("?tp_btf/sys_enter") int optional(unsigned long long *ctx) { return 0; }
"""


def loader(form: Form) -> lskel.Loader:
    return lskel.generate(lskel.open_object(compile_bpf(SOURCE), name="l"), form, attach=True)


@pytest.mark.parametrize("form", Form)
def test_calls(form: Form) -> None:
    made = loader(form)
    assert lskel.Loader.load(dump(made)) == made
    replay = run(made)
    calls = [r for r in replay.records if r.cmd in (Cmd.RAW_TRACEPOINT_OPEN, Cmd.LINK_CREATE)]
    assert [r.cmd for r in calls] == [Cmd.RAW_TRACEPOINT_OPEN, Cmd.LINK_CREATE]
    assert calls[1].attr["attach_type"] == AttachType.TRACE_ITER
    kinds = sorted(ref.kind for ref in replay.open_fds.values())
    assert kinds == ["link"] * 2 + ["map"] + ["prog"] * 3
    switched = run(made, Options(autoload={"entered": False, "optional": True}))
    assert sorted(ref.kind for ref in switched.open_fds.values()) == kinds
    assert not any(r.failed for r in switched.records)


def attached(bpf: DynamicCollection) -> None:
    with bpf:
        assert len(bpf.links) == 2
        assert [p.name for p in bpf.progs if bpf.links.has(p.name)] == ["entered", "walk"]
        os.getppid()
        assert bpf.bss.seen > 0
        with create_iterator(bpf.links.walk):
            pass
        attached, _ = attach_all(bpf)
        assert [item.name for item in attached] == ["entered", "walk", "raw"]
        assert len(bpf.links) == 3


@pytest.mark.kernel
@pytest.mark.parametrize("form", Form)
def test_in_the_kernel(form: Form) -> None:
    attached(load_by_loader(loader(form)))


@pytest.mark.kernel
def test_directly() -> None:
    attached(load_directly(loader(Form.TABLE)))
