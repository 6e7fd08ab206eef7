"""Does what there is to trace: runs programs, opens files, makes connections, sends packets."""

from __future__ import annotations

import itertools
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

_PAUSE = 0.02
_EACH = 5


def main() -> None:
    """For ever; says when it begins."""
    listener = socket.create_server(("127.0.0.1", 0))
    packets = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    print("working", flush=True)
    for turn in itertools.count():
        Path("/etc/hostname").read_bytes()
        with socket.create_connection(listener.getsockname()), listener.accept()[0]:
            pass
        with suppress(ConnectionRefusedError):  # what the packet before it led to
            packets.sendto(b"hello", ("127.0.0.1", 9))
        if turn % _EACH == 0:
            for program in ("/usr/bin/ls", "/usr/bin/uname"):
                subprocess.run([program], stdout=subprocess.DEVNULL, check=True)
        time.sleep(_PAUSE)


if __name__ == "__main__":
    main()
