"""Reading the small text files of /proc and /sys."""

from __future__ import annotations

from lskel.runtime.syscall import calling


def read_bytes(path: str) -> bytes:
    """What is in a file; KernelError where it cannot be read."""
    # pathlib would be one of the dearest imports of the whole room.
    with calling(f"open({path})"), open(path, "rb") as file:  # noqa: PTH123
        return file.read()


def read_text(path: str) -> str:
    """The file as text, without the space around it."""
    return read_bytes(path).decode("utf-8", "surrogateescape").strip()
