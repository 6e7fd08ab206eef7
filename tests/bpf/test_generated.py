"""The generated modules agree with the running kernel's BTF."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.skipif(not Path("/sys/kernel/btf/vmlinux").exists(), reason="the kernel has no BTF")
def test_agrees_with_this_kernel() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "gen_bpf.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "no disagreement\n"), done.stdout
