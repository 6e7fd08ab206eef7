"""A TCP connection on loopback that uses a congestion control of a BPF object."""

from __future__ import annotations

import socket
import threading

import lskel
from lskel.replay.attach import attach_all
from lskel.runtime.objects import enable_stats

SIZE = 1 << 20
_NAME_ROOM = 16


def exercise(bundle: str, name: str) -> dict[str, object]:
    """Load a bundle, register it, use it as congestion control `name`, take it back.

    Tells what the connection said it uses, how many bytes it carried, which programs ran how often,
    and whether the name is unknown again afterwards.
    """
    with lskel.load(bundle) as bpf, enable_stats():
        attached, _ = attach_all(bpf)
        used, carried = connection(name)
        bpf.detach()
        runs = {program.name: program.info().run_cnt for program in bpf.progs if program.loaded}
    try:
        connection(name)
        still_there = True
    except FileNotFoundError:
        still_there = False
    return {
        "attached": [item.target for item in attached],
        "used": used,
        "carried": carried,
        "runs": runs,
        "still_there": still_there,
    }


def connection(name: str) -> tuple[str, int]:
    """What TCP_CONGESTION says on a connection that asks for `name`, and bytes carried."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())
        client.connect(server.getsockname())
        peer, _ = server.accept()
        with peer:
            sender = threading.Thread(target=client.sendall, args=(bytes(SIZE),))
            sender.start()
            carried = 0
            while carried < SIZE and (part := peer.recv(1 << 16)):
                carried += len(part)
            sender.join()
            used = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _NAME_ROOM)
    return used.partition(b"\0")[0].decode(), carried
