"""The machine and the kernel."""

from __future__ import annotations

import os
import sys

from lskel.doctor.finding import Probe, fact
from lskel.runtime.cpus import possible_cpus

PROBES = (
    Probe("kernel.release", "release", lambda: fact(os.uname().release)),
    Probe("kernel.machine", "machine", lambda: fact(os.uname().machine)),
    Probe("kernel.byte_order", "byte order", lambda: fact(sys.byteorder)),
    Probe("kernel.page_size", "page size", lambda: fact(f"{os.sysconf('SC_PAGE_SIZE')} bytes")),
    Probe("kernel.cpus", "possible CPUs", lambda: fact(str(len(possible_cpus())))),
)
