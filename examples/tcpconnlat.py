#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""How long TCP connections take to be established, from the SYN to the answer.

lskel gen tcpconnlat.bpf.o -o tcpconnlat_lskel.py && sudo python3 tcpconnlat.py [MILLISECONDS]

With MILLISECONDS, only connections that take at least that long.
"""

from __future__ import annotations

import socket
import sys
from contextlib import suppress
from ipaddress import ip_address

from tcpconnlat_lskel import Tcpconnlat

with Tcpconnlat() as skel, suppress(KeyboardInterrupt):
    if len(sys.argv) > 1:
        skel.rodata.at_least = int(float(sys.argv[1]) * 1_000_000)
    skel.attach()
    print(f"{'PID':>7} {'COMM':16} {'MS':>9} TO", flush=True)
    for event in skel.maps.events:
        size = 4 if event.family == socket.AF_INET else 16
        to = f"{ip_address(bytes(event.address)[:size])} port {event.port}"
        took = event.nanoseconds / 1_000_000
        print(f"{event.pid:7} {event.comm.decode():16} {took:9.3f} {to}", flush=True)
