"""A TCP connection on loopback that uses a congestion control of a BPF object."""

from __future__ import annotations

import socket
import threading

import lskel
from lskel.live.attach import attach_all
from lskel.replay import kernel
from lskel.runtime.objects import enable_stats, prog_info

SIZE = 1 << 20
_NAME_ROOM = 16


def exercise(bundle: str, name: str) -> dict[str, object]:
    """Load a bundle, register it, use it as congestion control `name`, take it back.

    Tells what the connection said it uses, how many bytes it carried, which programs ran how often,
    and whether the name is unknown again afterwards.
    """
    loader = lskel.Loader.load(bundle)
    with kernel.run(loader) as loaded, enable_stats():
        with attach_all(loaded) as links:
            attached = [item.target for item in links.attached]
            used, carried = connection(name)
        runs = {
            program.name: prog_info(program.fd.fileno()).run_cnt
            for program in loaded.programs.values()
        }
    try:
        connection(name)
        still_there = True
    except FileNotFoundError:
        still_there = False
    return {
        "attached": attached,
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
