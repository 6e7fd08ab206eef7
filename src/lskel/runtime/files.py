"""Reading the small text files of /proc and /sys."""

from __future__ import annotations


def read_text(path: str) -> str:
    """The file without the space around it; OSError as usual."""
    # pathlib would be one of the dearest imports of the whole room.
    with open(path, encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123
        return file.read().strip()
