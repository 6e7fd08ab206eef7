#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Counts system calls for a second, in a global variable.

lskel gen hello.bpf.o -o hello_lskel.py && sudo python3 hello.py
"""

from __future__ import annotations

import time

from hello_lskel import Hello

with Hello() as skel:
    skel.attach()
    time.sleep(1)
    print(f"{skel.bss.calls} system calls, the last by {skel.bss.last_comm.decode()}")
