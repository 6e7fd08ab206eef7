"""The types of programs whose section names give none: their tests say them when they load them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import lskel
from lskel.bpf.enums import ProgType


class Types(NamedTuple):
    """The type of an object's programs, but for those named in `others`."""

    most: ProgType
    others: Mapping[str, ProgType] = {}


_SK_MSG = dict.fromkeys((f"bpf_prog{n}" for n in (4, 6, 8, 9, 10)), ProgType.SK_MSG)

# As prog_tests/ and the shell scripts of the selftests load them.
TYPES = {
    "sockmap_parse_prog": Types(ProgType.SK_SKB),
    "sockmap_tcp_msg_prog": Types(ProgType.SK_MSG),
    "sockmap_verdict_prog": Types(ProgType.SK_SKB),
    "test_btf_newkv": Types(ProgType.TRACEPOINT),
    "test_btf_nokv": Types(ProgType.TRACEPOINT),
    "test_custom_sec_handlers": Types(ProgType.RAW_TRACEPOINT, {"xyz": ProgType.SYSCALL}),
    "test_lwt_ip_encap": Types(ProgType.LWT_XMIT),
    "test_lwt_redirect": Types(ProgType.LWT_XMIT),
    "test_lwt_seg6local": Types(ProgType.LWT_SEG6LOCAL, {"__encap_srh": ProgType.LWT_IN}),
    "test_skb_cgroup_id_kern": Types(ProgType.SCHED_CLS),
    "test_sockhash_kern": Types(ProgType.SK_SKB, _SK_MSG),
    "test_sockmap_kern": Types(ProgType.SK_SKB, _SK_MSG),
    "test_tc_edt": Types(ProgType.SCHED_CLS),
    "test_tc_tunnel": Types(ProgType.SCHED_CLS),
    "test_xdp_meta": Types(ProgType.SCHED_CLS, {"ing_xdp": ProgType.XDP}),
    "test_xdp_redirect": Types(ProgType.XDP),
    "test_xdp_vlan": Types(ProgType.XDP, {"_tc_progA": ProgType.SCHED_CLS}),
    "xdp_redirect_map": Types(ProgType.XDP),
}


def typed(path: Path) -> lskel.Object:
    """The object, with types for the programs that lack one."""
    obj = lskel.open_object(path)
    for program in obj.programs:
        if program.spec.prog_type == ProgType.UNSPEC:
            types = TYPES[path.stem]
            obj = obj.with_type(program.name, types.others.get(program.name, types.most))
    return obj
