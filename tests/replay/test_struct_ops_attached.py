"""struct_ops of small sources: registered, used, taken back; with and without a link."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator

import pytest

import lskel
from lskel.bpf.enums import LinkType
from lskel.bpf.struct_ops import StructOps
from lskel.errors import LskelError, NotSupported
from lskel.live.attach import Links, attach_all
from lskel.loader.model import Loader
from lskel.replay import direct, kernel
from lskel.replay.loaded import Loaded
from lskel.replay.options import Options
from lskel.runtime import elements
from lskel.runtime.objects import Fd, link_info
from tests.build.clang import compile_bpf
from tests.conftest import Run
from tests.live.tcp_congestion import SIZE, connection

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

Replay = Callable[[Loader, Options], Loaded]
REPLAYS: list[Replay] = [kernel.run, lambda loader, options: direct.run(loader.trace, options)]


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


def targets(links: Links) -> list[tuple[str, str]]:
    return [(item.program, item.target) for item in links.attached]


@pytest.fixture(autouse=True)
def _all_taken_back() -> Iterator[None]:
    yield
    assert not is_registered(NAME) and not is_registered(OTHER)


@pytest.mark.parametrize("replay", REPLAYS, ids=["kernel", "direct"])
@SECTIONS
def test_used_by_a_connection(section: str, replay: Replay, run: Run) -> None:
    loader = lskel.generate(object_of(SOURCE, section))
    assert not is_registered(NAME)
    with replay(loader, Options()) as loaded:
        with attach_all(loaded) as links:
            assert targets(links) == [("cc", "struct_ops/tcp_congestion_ops")]
            assert not links.skipped
            assert connection(NAME) == (NAME, SIZE)
            made = loaded.maps["cc"].info()
            listed = json.loads(run("bpftool", "--json", "struct_ops", "list"))
            assert {
                "id": made.id,
                "name": "cc",
                "kernel_struct_ops": "tcp_congestion_ops",
            } in listed
            link = links.attached[0].link
            assert isinstance(link, Fd) is (section == ".struct_ops.link")
            if isinstance(link, Fd):
                assert link_info(link.fileno()).type == LinkType.STRUCT_OPS
        assert not is_registered(NAME)
        counts = elements.lookup(loaded.maps["so.bss"].fd.fileno(), bytes(4), 16)
        assert counts is not None
        inits, acks = (int.from_bytes(counts[at : at + 8], sys.byteorder) for at in (0, 8))
        # Both ends of the connection: the one that listens has the system's.
        assert inits == 1 and acks > 0


@SECTIONS
def test_program_left_out(section: str) -> None:
    """Its member stays 0, which for this one means none."""
    loader = lskel.generate(object_of(SOURCE, section))
    with kernel.run(loader, Options(autoload={"so_init": False})) as loaded:
        with attach_all(loaded) as links:
            assert [(s.program, s.reason) for s in links.skipped] == [
                ("so_init", "not loaded: left out")
            ]
            assert connection(NAME) == (NAME, SIZE)
        counts = elements.lookup(loaded.maps["so.bss"].fd.fileno(), bytes(4), 16)
        assert counts is not None and not any(counts[:8]) and any(counts[8:])


def test_not_created_by_default() -> None:
    obj = object_of(SOURCE, "?.struct_ops.link")
    with kernel.run(lskel.generate(obj)) as loaded, attach_all(loaded) as links:
        assert not links.attached and not loaded.programs
    obj = obj.with_map("cc", autocreate=True)
    with kernel.run(lskel.generate(obj)) as loaded, attach_all(loaded) as links:
        assert targets(links) == [("cc", "struct_ops/tcp_congestion_ops")]
        assert is_registered(NAME)


def test_programs_of_two_maps() -> None:
    obj = named(object_of(TWO, ".struct_ops.link"), "cc2", OTHER)
    with kernel.run(lskel.generate(obj)) as loaded, attach_all(loaded) as links:
        assert [item.program for item in links.attached] == ["cc", "cc2"]
        assert is_registered(NAME) and is_registered(OTHER)


@SECTIONS
def test_all_or_nothing(section: str) -> None:
    """Two of one name: the kernel refuses the second, and the first is taken back."""
    loader = lskel.generate(object_of(TWO, section))
    with (
        kernel.run(loader) as loaded,
        pytest.raises(LskelError, match=r"map 'cc2?': .*EEXIST: .*\(.*--no-autoload cc2?\)"),
    ):
        attach_all(loaded)


@SECTIONS
def test_links_outlive_the_maps(section: str) -> None:
    with kernel.run(lskel.generate(object_of(SOURCE, section))) as loaded:
        links = attach_all(loaded)
    assert is_registered(NAME)
    links.close()
    links.close()


def test_taken_back_by_somebody_else(run: Run) -> None:
    with kernel.run(lskel.generate(object_of(SOURCE, ".struct_ops"))) as loaded:
        with attach_all(loaded):
            run("bpftool", "struct_ops", "unregister", "id", loaded.maps["cc"].info().id)
            assert not is_registered(NAME)
        # Such a map registers once only, in every kernel.
        with pytest.raises(LskelError, match=r"map 'cc': .*EBUSY"):
            attach_all(loaded)


def test_linked_again() -> None:
    with kernel.run(lskel.generate(object_of(SOURCE, ".struct_ops.link"))) as loaded:
        for _ in range(2):
            with attach_all(loaded):
                assert is_registered(NAME)
            assert not is_registered(NAME)


def test_what_the_kernel_lacks() -> None:
    obj = object_of(SOURCE, ".struct_ops")
    ops = ops_of(obj, "cc").with_value("only_here", bytes([1, 0, 0, 0]))
    changed = obj.with_map("cc", struct_ops=ops)
    with (
        kernel.run(lskel.generate(changed)) as loaded,
        pytest.raises(NotSupported, match=r"map 'cc': .* member 'only_here': this kernel's struct"),
    ):
        attach_all(loaded)
    text = SOURCE.replace("init)", "no_init)").replace(".init", ".no_init")
    loader = lskel.generate(object_of(text, ".struct_ops"))
    with pytest.raises(NotSupported, match="struct tcp_congestion_ops has no member 'no_init'"):
        kernel.run(loader)
    with kernel.run(loader, Options(autoload={"so_init": False})) as loaded, attach_all(loaded):
        assert is_registered(NAME)
