"""Run a command in a user namespace with a bpffs that delegates rights, from which BPF tokens come.

    python3 delegate.py [-o OPTION=VALUE]... COMMAND [ARGUMENT]...

To be run as root, as a container engine does it: only CAP_SYS_ADMIN of the initial user namespace
may set the options delegate_cmds, delegate_maps, delegate_progs and delegate_attachs, and only a
process of the new namespace may open the filesystem (fsopen). So the child opens it, this process
sets its options and creates it, and the child mounts it at /sys/fs/bpf and executes the command.
Linux 6.9.

The default is to delegate all of each. The command runs as root of the namespace, with all
capabilities there and none outside. Users keep their ids, so that it finds its files; an engine
maps them to others.
"""

import argparse
import ctypes
import os
import socket
import sys
from pathlib import Path

CLONE_NEWUSER, CLONE_NEWNS = 0x10000000, 0x20000
FSOPEN, FSCONFIG, FSMOUNT, MOVE_MOUNT = 430, 431, 432, 429  # the same on all architectures
FSCONFIG_SET_STRING, FSCONFIG_CMD_CREATE = 1, 6
MOVE_MOUNT_F_EMPTY_PATH, AT_FDCWD = 4, -100
OPTIONS = ("delegate_cmds", "delegate_maps", "delegate_progs", "delegate_attachs")
BPFFS = "/sys/fs/bpf"

libc = ctypes.CDLL(None, use_errno=True)


def checked(what, result):
    """The result of a call of libc; OSError if it failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def fsconfig(fs, command, key=None, value=None):
    checked(f"fsconfig {key}", libc.syscall(FSCONFIG, fs, command, key, value, 0))


def run(command, parent):
    """In the child: a namespace, a bpffs that the parent configures, then the command."""
    checked("unshare", libc.unshare(CLONE_NEWUSER | CLONE_NEWNS))
    fs = checked("fsopen", libc.syscall(FSOPEN, b"bpf", 0))
    socket.send_fds(parent, [b"f"], [fs])
    if not parent.recv(1):
        sys.exit(1)  # the parent says why
    mount = checked("fsmount", libc.syscall(FSMOUNT, fs, 0, 0))
    place = (mount, b"", AT_FDCWD, BPFFS.encode(), MOVE_MOUNT_F_EMPTY_PATH)
    checked(f"mount {BPFFS}", libc.syscall(MOVE_MOUNT, *place))
    os.execvp(command[0], command)


def delegate(child, options, peer):
    """In the parent: the users of the namespace, the options of its filesystem, and go."""
    _, (fs, *_), _, _ = socket.recv_fds(peer, 1, 1)
    proc = Path("/proc") / str(child)
    (proc / "setgroups").write_text("deny")
    (proc / "uid_map").write_text("0 0 65536")
    (proc / "gid_map").write_text("0 0 65536")
    for key, value in options.items():
        fsconfig(fs, FSCONFIG_SET_STRING, key.encode(), value.encode())
    fsconfig(fs, FSCONFIG_CMD_CREATE)
    peer.send(b"g")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", dest="options", action="append", metavar="OPTION=VALUE", default=[])
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    given = dict(option.split("=", 1) for option in arguments.options)
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        run(arguments.command, theirs)
    theirs.close()
    try:
        delegate(child, given or dict.fromkeys(OPTIONS, "any"), ours)
    finally:
        ours.close()
        status = os.waitpid(child, 0)[1]
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
