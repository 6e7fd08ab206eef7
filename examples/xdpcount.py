#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Packets that arrive at an interface in three seconds, by protocol.

lskel gen xdpcount.bpf.o -o xdpcount_lskel.py && sudo python3 xdpcount.py INTERFACE
"""

from __future__ import annotations

import sys
import time

from xdpcount_lskel import Xdpcount

with Xdpcount() as skel:
    skel.load()
    skel.progs.count_packet.attach(sys.argv[1])
    time.sleep(3)
    by_cpu = skel.maps.traffic[0]

for protocol in ("arp", "icmp", "tcp", "udp", "other"):
    counters = [getattr(seen, protocol) for seen in by_cpu]
    packets = sum(counter.packets for counter in counters)
    print(f"{protocol:6} {packets:9} packets {sum(c.bytes for c in counters):12} bytes")
