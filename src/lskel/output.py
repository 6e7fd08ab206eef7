"""Writing files that appear whole or not at all."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from lskel.errors import UsageError, at

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW, _PRIVATE = 0o666, 0o600


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file, or to a pipe or device; UsageError where it cannot be, and nothing changed.

    Whoever reads the path meanwhile sees the old file or the new one, and of several writers one
    wins. Of a symbolic link, the file that it leads to is replaced. A file that is replaced hands
    on its permissions.
    """
    with at(os.fspath(path)):
        try:
            _write(Path(path), content)
        except OSError as error:
            raise UsageError(f"cannot be written: {error.strerror}") from error


def _write(path: Path, content: bytes) -> None:
    before = None
    # Fails at a link that fs.protected_symlinks forbids to follow.
    with suppress(FileNotFoundError):
        before = path.stat()
    if before is not None and not stat.S_ISREG(before.st_mode):
        path.write_bytes(content)  # a pipe or a device is written to, not replaced
        return
    # Where there was nothing, a link that somebody has put there since is replaced, not followed.
    is_new = before is None and not path.is_symlink()
    target = path.parent.resolve() / path.name if is_new else path.resolve()
    # Nobody can put a link in its place, as its name is not known.
    temporary = target.with_name(f".lskel-{os.urandom(12).hex()}")
    try:
        fd = os.open(temporary, _CREATE, _NEW if before is None else _PRIVATE)
        with open(fd, "wb") as file:  # noqa: PTH123 - of an fd
            file.write(content)
            if before is not None:
                os.fchmod(fd, before.st_mode & 0o777)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
