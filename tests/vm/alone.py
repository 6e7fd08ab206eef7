"""Running a file alone, by the machine's own Python."""

from __future__ import annotations

import subprocess

# Debian's, which has no lskel; -I leaves out the directory, the environment, and users' packages.
PYTHON = "/usr/bin/python3"


def run(path: str, *args: str) -> str:
    """What the script prints; its errors are raised."""
    command = [PYTHON, "-I", "-S", path, *args]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout
