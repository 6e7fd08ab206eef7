#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The ten processes with the most system calls, or the system calls of one process by number.

lskel gen syscount.bpf.o -o syscount_lskel.py && sudo python3 syscount.py [PID]
"""

from __future__ import annotations

import sys
import time

from syscount_lskel import Syscount

with Syscount() as skel:
    if len(sys.argv) > 1:
        skel.rodata.target_pid = int(sys.argv[1])
        skel.rodata.per_syscall = True
    skel.attach()
    time.sleep(1)
    busiest = sorted(skel.maps.syscalls.items(), key=lambda item: -item[1].count)[:10]

for key, value in busiest:
    what = f"system call {key.syscall}" if len(sys.argv) > 1 else value.comm.decode()
    print(f"{value.count:8} {key.pid:7} {what}")
