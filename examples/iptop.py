#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Traffic to a network interface by sender: a live table, counted at the XDP hook.

lskel gen iptop.bpf.o -o iptop_lskel.py && sudo python3 iptop.py INTERFACE [SECONDS]
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from ipaddress import IPv6Address

from iptop_lskel import Iptop

ROWS = 20

interface = sys.argv[1]
ends = time.monotonic() + float(sys.argv[2]) if len(sys.argv) > 2 else float("inf")

with Iptop() as skel, suppress(KeyboardInterrupt):
    skel.load()
    skel.progs.count_sender.attach(interface)
    before: dict[bytes, int] = {}
    while time.monotonic() < ends:
        time.sleep(1)
        seen = {bytes(key): value for key, value in skel.maps.senders.items()}
        if sys.stdout.isatty():
            print("\033[H\033[J", end="")
        print(f"{'ADDRESS':40} {'PACKETS':>12} {'BYTES':>14} {'BYTES/S':>12}")
        for key, value in sorted(seen.items(), key=lambda item: -item[1].bytes)[:ROWS]:
            address = IPv6Address(key).ipv4_mapped or IPv6Address(key)
            rate = value.bytes - before.get(key, 0)
            print(f"{address!s:40} {value.packets:12} {value.bytes:14} {rate:12}")
        print(flush=True)
        before = {key: value.bytes for key, value in seen.items()}
