#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Every program that is executed, as it happens.

lskel gen execsnoop.bpf.o -o execsnoop_lskel.py && sudo python3 execsnoop.py
"""

from __future__ import annotations

from contextlib import suppress

from execsnoop_lskel import Execsnoop

with Execsnoop() as skel, suppress(KeyboardInterrupt):
    skel.attach()
    print(f"{'PID':>7} {'PPID':>7} {'UID':>5} PROGRAM", flush=True)
    for event in skel.maps.events:
        program = event.filename.decode(errors="replace")
        print(f"{event.pid:7} {event.ppid:7} {event.uid:5} {program}", flush=True)
