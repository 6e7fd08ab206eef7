"""How much work the verifier has with a loader program."""

from __future__ import annotations

import re
import sys

import lskel
from lskel.bpf.enums import Cmd, MapType, ProgType
from lskel.bpf.layouts import BTF_LOAD, PROG_LOAD
from lskel.runtime.objects import Fd
from lskel.runtime.syscall import address_of, bpf, host_attr
from tests.runtime.programs import create_map

_STATISTICS = 4
_SLEEPABLE = 1 << 4


def processed(bundle: str) -> int:
    """Instructions that the running kernel's verifier processes for the loader in a bundle."""
    loader = lskel.Loader.load(bundle)
    log = bytearray(1 << 16)
    with create_map(MapType.ARRAY, 4, len(loader.blob), 1) as blob:
        fds = bytearray(blob.fileno().to_bytes(4, sys.byteorder))
        btf = bytes(loader.btf)
        with Fd(
            bpf(
                Cmd.BTF_LOAD,
                host_attr(BTF_LOAD, "btf_log_level", btf=address_of(btf), btf_size=len(btf)),
            )
        ) as types:
            attr = host_attr(
                PROG_LOAD,
                "fd_array",
                prog_type=ProgType.SYSCALL,
                insn_cnt=len(loader.insns) // 8,
                insns=address_of(loader.insns),
                license=address_of(b"GPL\0"),
                log_level=_STATISTICS,
                log_size=len(log),
                log_buf=address_of(log),
                prog_flags=_SLEEPABLE,
                prog_btf_fd=types.fileno(),
                func_info=address_of(loader.func_info),
                func_info_rec_size=8,
                func_info_cnt=len(loader.func_info) // 8,
                fd_array=address_of(fds),
            )
            Fd(bpf(Cmd.PROG_LOAD, attr)).close()
    found = re.search(rb"processed (\d+) insns", log)
    assert found
    return int(found[1])
