"""Reading the small text files of /proc and /sys."""

from __future__ import annotations

from lskel.runtime.syscall import calling


def read_bytes(path: str) -> bytes:
    """The content of a file; KernelError if it cannot be read."""
    # pathlib would be one of the most expensive imports of the runtime.
    with calling(f"open({path})"), open(path, "rb") as file:  # noqa: PTH123
        return file.read()


def read_text(path: str) -> str:
    """The content of a file as text, without surrounding whitespace."""
    return read_bytes(path).decode("utf-8", "surrogateescape").strip()
