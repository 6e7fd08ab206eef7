#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Schedules all tasks of the machine, first in, first out, and says each second what each CPU did.

lskel gen fifosched.bpf.o -o fifosched_lskel.py && sudo python3 fifosched.py [SECONDS]

IDLE: tasks that got an idle CPU at once; QUEUED: those that had to wait; TAKEN: from the queue.
It needs Linux 6.13 with CONFIG_SCHED_CLASS_EXT. When it ends, tasks are scheduled as before.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress

from fifosched_lskel import Fifosched

seconds = float(sys.argv[1]) if len(sys.argv) > 1 else float("inf")
with Fifosched() as skel, suppress(KeyboardInterrupt):
    skel.attach()
    print(f"{'CPU':>3} {'IDLE':>9} {'QUEUED':>9} {'TAKEN':>9}", flush=True)
    end = time.monotonic() + seconds
    before = skel.maps.counters[0]
    # The kernel throws out a scheduler that fails.
    while not skel.bss.exit_kind and time.monotonic() < end:
        time.sleep(1)
        now = skel.maps.counters[0]
        for cpu, (old, new) in enumerate(zip(before, now, strict=True)):
            idle, queued = new.idle - old.idle, new.queued - old.queued
            taken = new.taken - old.taken
            if idle or queued or taken:
                print(f"{cpu:3} {idle:9} {queued:9} {taken:9}", flush=True)
        before = now
    skel.detach()
    reason, message = skel.bss.exit_reason.decode(), skel.bss.exit_message.decode()
    print(f"ended: {reason}{f' ({message})' if message else ''}")
