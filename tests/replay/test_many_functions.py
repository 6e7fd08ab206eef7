"""fentry.multi: loaded for the BTF of the kernel or of a module, by loaders of both forms."""

from __future__ import annotations

import pytest

import lskel
from lskel import SimulatedMachine
from lskel.bpf.enums import AttachType, Cmd, ProgType
from lskel.btf.btf import Btf
from lskel.btf.build import BtfBuilder
from lskel.btf.kinds import Kind
from lskel.errors import NotFound, UsageError
from lskel.loader.model import Form
from lskel.replay.simulator.names import KernelImage
from lskel.replay.simulator.record import FdRef
from lskel.runtime.attach import tracing_multi
from lskel.runtime.attach.tracing_multi import TracingMultiProgram, matching_ids
from tests.build.clang import compile_bpf

SOURCE = """
SEC("fentry.multi/tcp_*") int entered(void *ctx) { return 0; }
SEC("fexit.multi.s/dummy:dummy_*") int left(void *ctx) { return 0; }
SEC("fsession.multi") int both(void *ctx) { return 0; }
"""
SLEEPABLE = 16


@pytest.mark.parametrize("form", [Form.UNROLLED, Form.TABLE])
def test_loaded(form: Form) -> None:
    machine = SimulatedMachine()
    loader = lskel.generate(lskel.open_object(compile_bpf(SOURCE)), form)
    with lskel.load(loader, kernel=machine) as bpf:
        bpf.load()
        assert {type(program) for program in bpf.progs} == {TracingMultiProgram}
        assert [program.attaches_itself() for program in bpf.progs] == [True, True, False]
    loads = {
        record.attr["prog_name"]: record.attr
        for record in machine.kernel.records
        if record.cmd is Cmd.PROG_LOAD and record.attr["prog_type"] == ProgType.TRACING
    }
    types = [AttachType[f"TRACE_F{kind}_MULTI"] for kind in ("ENTRY", "EXIT", "SESSION")]
    assert [attr["expected_attach_type"] for attr in loads.values()] == types
    assert [attr["prog_flags"] for attr in loads.values()] == [0, SLEEPABLE, 0]
    assert [attr["attach_btf_id"] for attr in loads.values()] == [0, 0, 0]
    targets = [attr["attach_btf_obj_fd"] for attr in loads.values()]
    assert targets[0] == targets[2] == 0
    assert isinstance(targets[1], FdRef)
    assert (targets[1].kind, targets[1].name) == ("btf", "dummy")


def test_targets() -> None:
    """The module must be loaded; it may be another than the section's; others take no target."""
    empty = Btf(BtfBuilder("little").raw())
    obj = lskel.open_object(compile_bpf(SOURCE))
    machine = SimulatedMachine(names=KernelImage(empty, {"other": empty}))
    with lskel.load(obj, kernel=machine) as bpf:
        with pytest.raises(NotFound, match="program 'left': no module 'dummy' with BTF is loaded"):
            bpf.load()
        bpf.progs.left.target = "other:f*"
        bpf.load()
    with lskel.load(obj, kernel=SimulatedMachine()) as bpf:
        bpf.progs.entered.target = "udp_*"
        with pytest.raises(UsageError, match="program 'entered' takes no target"):
            bpf.load()


@pytest.mark.parametrize(
    ("functions", "cookies", "said"),
    [
        ([], [], "no functions to attach to"),
        ("tcp_*", [1], "cookies need a list of functions, not a pattern"),
        (["tcp_close"], [1, 2], "2 cookies for 1 functions"),
    ],
)
def test_arguments(functions: str | list[str], cookies: list[int], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        tracing_multi.attach_tracing_multi(
            -1, AttachType.TRACE_FENTRY_MULTI, functions, cookies=cookies
        )


def test_which_functions_match(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that ftrace lists, and whose arguments and result trampolines pass."""
    build = BtfBuilder("little")
    number, wide = build.add_int(), build.add_int("wide", 16)
    small = build.add(Kind.STRUCT, "small", 0, 16)
    large = build.add(Kind.STRUCT, "large", 0, 24)
    floating = build.add(Kind.FLOAT, "float", 0, 4)
    pointer = build.add(Kind.PTR, "", 0, large)
    alias = build.add(Kind.TYPEDEF, "alias", 0, wide)
    names: dict[int, str] = {}

    def function(name: str, result: int, *params: int) -> None:
        words = [word for param in params for word in (0, param)]
        proto = build.add(Kind.FUNC_PROTO, "", len(params), result, *words)
        names[build.add(Kind.FUNC, name, 1, proto)] = name

    function("f_none", 0)
    function("f_all", number, pointer, small, alias, number)
    function("f_twelve", pointer, *[number] * 12)
    function("f_thirteen", number, *[number] * 13)
    function("f_large", 0, large)
    function("f_float", 0, floating)
    function("f_floating", floating)
    function("f_struct", small)
    function("f_wide", wide)
    function("f_variadic", number, pointer, 0)
    function("f_unlisted", 0)
    function("g_other", 0)
    function("f_none", 0, number)
    listed = [name for name in names.values() if name != "f_unlisted"]
    monkeypatch.setattr(tracing_multi, "traceable_functions", lambda: listed)
    found = matching_ids("f_*", Btf(build.raw()))
    assert [names[number] for number in found] == ["f_none", "f_all", "f_twelve"]
