"""struct_ops of small sources: registered, used, taken back; with and without a link."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

import lskel
from lskel.bpf.enums import LinkType
from lskel.bpf.struct_ops import StructOps
from lskel.errors import LskelError, NotSupported
from lskel.replay.attach import Attached, NotAttached, attach_all
from lskel.runtime.info import link_info
from lskel.runtime.objects import Fd
from tests.build.clang import compile_bpf
from tests.conftest import Run
from tests.loads import Load, both
from tests.replay.tcp_congestion import SIZE, connection

pytestmark = pytest.mark.kernel

# Names are the whole machine's: nobody else's, please.
NAME = f"lskel_{os.getpid()}"
OTHER = f"lskel2_{os.getpid()}"
# In an order that is not the kernel's, with a member that no kernel has.
SOURCE = """
struct tcp_congestion_ops___small {
    int only_here;
    char name[16];
    void (*init)(void *);
    unsigned (*undo_cwnd)(void *);
    unsigned (*ssthresh)(void *);
    void (*cong_avoid)(void *, unsigned, unsigned);
};
long inits, acks;
SEC("struct_ops/so_init") int so_init(void *c)
{ __sync_fetch_and_add(&inits, 1); return 0; }
SEC("struct_ops/so_avoid") int so_avoid(void *c)
{ __sync_fetch_and_add(&acks, 1); return 0; }
SEC("struct_ops/so_ssthresh") unsigned so_ssthresh(void *c) { return 2; }
SEC("struct_ops/so_undo") unsigned so_undo(void *c) { return 10; }
#define CC { .name = NAME, .init = (void *)so_init, .cong_avoid = (void *)so_avoid, \\
    .ssthresh = so_ssthresh, .undo_cwnd = so_undo }
SEC("SECTION") struct tcp_congestion_ops___small cc = CC;
"""
# A second map, of the same programs.
TWO = SOURCE + 'SEC(".struct_ops") struct tcp_congestion_ops___small cc2 = CC;'
SECTIONS = pytest.mark.parametrize("section", [".struct_ops", ".struct_ops.link"])

CC = Attached("cc", "struct_ops/tcp_congestion_ops")


def object_of(source: str, section: str) -> lskel.Object:
    text = source.replace("= NAME", f'= "{NAME}"').replace("SECTION", section)
    return lskel.open_object(compile_bpf(text), name="so")


def ops_of(obj: lskel.Object, name: str) -> StructOps:
    ops = obj.map(name).struct_ops
    assert ops is not None
    return ops


def named(obj: lskel.Object, map_name: str, name: str) -> lskel.Object:
    ops = ops_of(obj, map_name).with_value("name", name.encode().ljust(16, b"\0"))
    return obj.with_map(map_name, struct_ops=ops)


def is_registered(name: str) -> bool:
    try:
        return connection(name) == (name, SIZE)
    except FileNotFoundError:
        return False


@pytest.fixture(autouse=True)
def _all_taken_back() -> Iterator[None]:
    yield
    assert not is_registered(NAME) and not is_registered(OTHER)


@both
@SECTIONS
def test_used_by_a_connection(section: str, load: Load, run: Run) -> None:
    loader = lskel.generate(object_of(SOURCE, section))
    assert not is_registered(NAME)
    with load(loader) as bpf:
        assert attach_all(bpf) == ((CC,), ())
        assert connection(NAME) == (NAME, SIZE)
        made = bpf.maps["cc"].info()
        listed = json.loads(run("bpftool", "--json", "struct_ops", "list"))
        assert {"id": made.id, "name": "cc", "kernel_struct_ops": "tcp_congestion_ops"} in listed
        link = bpf.links.cc
        assert isinstance(link, Fd) is (section == ".struct_ops.link")
        if isinstance(link, Fd):
            assert link_info(link.fileno()).type == LinkType.STRUCT_OPS
        bpf.detach()
        assert not is_registered(NAME)
        # Both ends of the connection: the one that listens has the system's.
        assert bpf.bss.inits == 1 and bpf.bss.acks > 0


@SECTIONS
def test_program_left_out(section: str) -> None:
    """Its member stays 0, which for this one means none."""
    with lskel.load(object_of(SOURCE, section), autoload={"so_init": False}) as bpf:
        attached, skipped = attach_all(bpf)
        assert attached == (CC,)
        assert skipped == (NotAttached("so_init", "not loaded: autoload disabled"),)
        assert connection(NAME) == (NAME, SIZE)
        assert bpf.bss.inits == 0 and bpf.bss.acks > 0


def test_not_created_by_default() -> None:
    obj = object_of(SOURCE, "?.struct_ops.link")
    with lskel.load(obj) as bpf:
        attached, _ = attach_all(bpf)
        assert not attached and "cc" not in bpf.maps
        assert bpf.loaded and not any(program.loaded for program in bpf.progs)
    with lskel.load(obj.with_map("cc", autocreate=True)) as bpf:
        attached, _ = attach_all(bpf)
        assert attached == (CC,)
        assert is_registered(NAME)


def test_programs_of_two_maps() -> None:
    with lskel.load(named(object_of(TWO, ".struct_ops.link"), "cc2", OTHER)) as bpf:
        attached, _ = attach_all(bpf)
        assert [item.name for item in attached] == ["cc", "cc2"]
        assert is_registered(NAME) and is_registered(OTHER)


@SECTIONS
def test_all_or_nothing(section: str) -> None:
    """Two of one name: the kernel refuses the second, and the first is taken back."""
    with lskel.load(object_of(TWO, section)) as bpf:
        with pytest.raises(LskelError, match=r"map 'cc2?': .*EEXIST: .*\(.*--no-autoload cc2?\)"):
            attach_all(bpf)
        assert bpf.loaded and not len(bpf.links) and not is_registered(NAME)


@SECTIONS
def test_links_outlive_the_maps(section: str) -> None:
    with lskel.load(object_of(SOURCE, section)) as bpf:
        bpf.attach()
        link = bpf.links.cc
        for made in bpf.maps:
            made.close()
        assert is_registered(NAME)
        link.close()
        link.close()
        assert not is_registered(NAME)


def test_taken_back_by_somebody_else(run: Run) -> None:
    with lskel.load(object_of(SOURCE, ".struct_ops")) as bpf:
        attach_all(bpf)
        run("bpftool", "struct_ops", "unregister", "id", bpf.maps["cc"].info().id)
        assert not is_registered(NAME)
        bpf.detach()
        # Such a map registers once only, in every kernel.
        with pytest.raises(LskelError, match=r"map 'cc': .*EBUSY"):
            attach_all(bpf)


def test_linked_again() -> None:
    with lskel.load(object_of(SOURCE, ".struct_ops.link")) as bpf:
        for _ in range(2):
            attach_all(bpf)
            assert is_registered(NAME)
            bpf.detach()
            assert not is_registered(NAME)


def test_what_the_kernel_lacks() -> None:
    obj = object_of(SOURCE, ".struct_ops")
    ops = ops_of(obj, "cc").with_value("only_here", bytes([1, 0, 0, 0]))
    with (
        lskel.load(obj.with_map("cc", struct_ops=ops)) as bpf,
        pytest.raises(NotSupported, match=r"map 'cc': .* member 'only_here': this kernel's struct"),
    ):
        attach_all(bpf)
    text = SOURCE.replace("init)", "no_init)").replace(".init", ".no_init")
    obj = object_of(text, ".struct_ops")
    with pytest.raises(NotSupported, match="struct tcp_congestion_ops has no member 'no_init'"):
        lskel.load(obj).load()
    with lskel.load(obj, autoload={"so_init": False}) as bpf:
        attach_all(bpf)
        assert is_registered(NAME)
