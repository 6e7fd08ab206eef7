"""Kernel functions of modules, configuration values and struct_ops on other kernels.

The bundles are made on this machine, which has other functions, another configuration and other
structs than the kernels that they are loaded in.
"""

from __future__ import annotations

import errno
import platform
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

import lskel
from lskel.loader.model import Form
from tests import corpus
from tests.build.clang import compile_bpf
from tests.loader.verified import processed
from tests.replay import tcp_congestion
from tests.vm import features
from tests.vm.job import Job
from tests.vm.machine import Machine

pytestmark = pytest.mark.usefixtures("corpus_tools")

# bpf_skb_ct_lookup is in vmlinux or in module nf_conntrack (net/netfilter/nf_conntrack_bpf.c).
KFUNC = """
struct nf_conn {};
struct opts { int netns_id, error; __u8 l4proto, dir, reserved[2]; };
extern struct nf_conn *bpf_skb_ct_lookup(struct __sk_buff *, struct bpf_sock_tuple *, __u32,
                                         struct opts *, __u32) __ksym;
extern void bpf_ct_release(struct nf_conn *) __ksym;
extern int bpf_no_such_function(struct __sk_buff *) __ksym __weak;
int results[3];
SEC("tc") int look(struct __sk_buff *skb)
{
    struct opts opts = { .netns_id = -1, .l4proto = 6 };
    struct bpf_sock_tuple tuple = {};
    struct nf_conn *ct = bpf_skb_ct_lookup(skb, &tuple, sizeof(tuple.ipv4), &opts, sizeof(opts));
    if (ct)
        bpf_ct_release(ct);
    results[0] = 1;
    results[1] = opts.error;
    results[2] = bpf_no_such_function ? bpf_no_such_function(skb) : 7;
    return 0;
}
"""
KCONFIG = """
extern int LINUX_KERNEL_VERSION __kconfig;
extern unsigned CONFIG_HZ __kconfig;
extern enum libbpf_tristate CONFIG_NF_CONNTRACK __kconfig;
extern char CONFIG_CC_VERSION_TEXT[64] __kconfig;
extern _Bool CONFIG_NO_SUCH_OPTION __kconfig __weak;
int sum;
SEC("socket") int p(void *ctx)
{
    return LINUX_KERNEL_VERSION + CONFIG_HZ + CONFIG_NF_CONNTRACK + CONFIG_CC_VERSION_TEXT[sum & 63]
        + CONFIG_NO_SUCH_OPTION;
}
"""
# Programs that attach to others, and one whose section does not name an attach target.
REPLACED = """
__attribute__((noinline)) int part(struct __sk_buff *skb) { return skb->len; }
SEC("tc") int whole(struct __sk_buff *skb) { return part(skb); }
"""
TRACING = """
SEC("freplace/part") int replacing(struct __sk_buff *skb) { return 7; }
SEC("fentry") int entered(unsigned long long *ctx) { return 0; }
SEC("fentry") int kernel_function(unsigned long long *ctx) { return 0; }
"""
CONGESTION_CONTROL = "bpf_cubic"
MANY_PROGRAMS = "test_tunnel_kern"


def save(loader: lskel.Loader, directory: Path, name: str) -> str:
    path = directory / f"{name}.lskel"
    loader.save(path)
    return str(path)


def plan(directory: Path) -> Iterator[Job]:
    kfunc = lskel.generate(lskel.open_object(compile_bpf(KFUNC), name="kfunc"))
    bundle = save(kfunc, directory, "kfunc")
    arguments = {"bundle": bundle, "map_name": "kfunc.bss", "modules": ["nf_conntrack"]}
    yield Job("kfunc", features.run_on_packet, arguments)
    kconfig = lskel.generate(lskel.open_object(compile_bpf(KCONFIG), name="kc"))
    arguments = {"bundle": save(kconfig, directory, "kconfig"), "map_name": "kc.kconfig"}
    yield Job("kconfig", features.kconfig, arguments)
    bundles = {
        name: save(lskel.generate(lskel.open_object(compile_bpf(source))), directory, name)
        for name, source in (("replaced", REPLACED), ("tracing", TRACING))
    }
    yield Job("targets", features.targets, bundles)
    tunnel = next(path for path in corpus.objects() if path.stem == MANY_PROGRAMS)
    bundle = save(lskel.generate(lskel.open_object(tunnel), Form.TABLE), directory, "many")
    yield Job("processed", processed, {"bundle": bundle})
    path = next(path for path in corpus.objects() if path.stem == CONGESTION_CONTROL)
    control = save(lskel.generate(lskel.open_object(path)), directory, "control")
    arguments = {"bundle": control, "name": CONGESTION_CONTROL}
    yield Job("congestion control", tcp_congestion.exercise, arguments, 60)


on_machines = pytest.mark.vm(jobs=plan)


@on_machines
def test_kfunc_of_a_module(machine: Machine) -> None:
    ran, error, branch = struct.unpack("3i", bytes.fromhex(machine.value("kfunc")))
    assert ran == 1
    assert error == -errno.ENOENT  # the function's own word: it tracks no such connection
    assert branch == 7  # and that other one does not exist


@on_machines
def test_configuration_of_the_target(machine: Machine) -> None:

    def wanted(name: str) -> str:
        found = re.search(rf"^CONFIG_{name}=(.*)$", machine.config, re.MULTILINE)
        assert found
        return found[1].strip('"')

    # As the layout has it: by alignment, then by size, then by name.
    hz, tristate, version, missing, text = struct.unpack(
        "IIi?64s", bytes.fromhex(machine.value("kconfig"))
    )
    assert hz == int(wanted("HZ"))
    assert tristate == {"n": 0, "y": 1, "m": 2}[wanted("NF_CONNTRACK")]
    assert version >> 8 == int.from_bytes(bytes(map(int, machine.release.split(".")[:2])), "big")
    assert text.rstrip(b"\0").decode() == wanted("CC_VERSION_TEXT")[:63]
    assert missing is False
    assert not machine.release.startswith(platform.release())


@on_machines
def test_targets_given_when_loading(machine: Machine) -> None:
    ids = machine.value("targets")
    assert set(ids) == {"replacing", "entered", "kernel_function"}
    assert all(ids.values())
    assert ids["replacing"] == ids["entered"]  # the same function, in the program's own BTF
    assert ids["kernel_function"] != ids["entered"]


@on_machines
def test_work_of_the_verifier(machine: Machine) -> None:
    """The walker's loops are callbacks, which the verifier does not see once for each record."""
    assert 0 < machine.value("processed") <= 400


@on_machines
def test_struct_ops(machine: Machine) -> None:
    done = machine.value("congestion control")
    assert done["used"] == CONGESTION_CONTROL
    assert done["carried"] == tcp_congestion.SIZE
    assert sum(done["runs"].values()) > 0
    assert not done["still_there"]
