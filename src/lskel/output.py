"""Atomic writes: a file is written completely or not at all."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from lskel.errors import UsageError, at

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW, _PRIVATE = 0o666, 0o600


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file, or to a pipe or device; on UsageError nothing has changed.

    A concurrent reader sees the old file or the new one; of several writers one wins. A symbolic
    link is followed and its target replaced. A replaced file keeps its permissions.
    """
    with at(os.fspath(path)):
        try:
            _write(Path(path), content)
        except OSError as error:
            raise UsageError(f"cannot write: {error.strerror}") from error


def _write(path: Path, content: bytes) -> None:
    before = None
    # Fails for a link that fs.protected_symlinks forbids to follow.
    with suppress(FileNotFoundError):
        before = path.stat()
    if before is not None and not stat.S_ISREG(before.st_mode):
        path.write_bytes(content)  # write to a pipe or device, do not replace it
        return
    # If the path did not exist, a link created since is replaced, not followed.
    is_new = before is None and not path.is_symlink()
    target = path.parent.resolve() / path.name if is_new else path.resolve()
    # The name is random, so no other process can put a link there.
    temporary = target.with_name(f".lskel-{os.urandom(12).hex()}")
    try:
        fd = os.open(temporary, _CREATE, _NEW if before is None else _PRIVATE)
        with open(fd, "wb") as file:  # noqa: PTH123 - an fd
            file.write(content)
            if before is not None:
                os.fchmod(fd, before.st_mode & 0o777)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
