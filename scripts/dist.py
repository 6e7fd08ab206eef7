"""Build what is given out: the source distribution, the wheel, and the zipapp lskel.pyz.

    python scripts/dist.py [DIRECTORY]      dist/ by default

The wheel is built from the source distribution, and the zipapp from the wheel. The same source
gives the same bytes: all times are SOURCE_DATE_EPOCH, by default the time of the last commit.
"""

from __future__ import annotations

import gzip
import io
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "scripts" / "pyz-requirements.txt"
# ZIP files know no earlier time.
_OLDEST = 315532800
# In words that every Python knows, up to where it says which ones it is for.
_MAIN = b"""\
import sys

if sys.version_info < (3, 10):
    sys.exit("lskel needs Python 3.10 or newer; this is %d.%d" % sys.version_info[:2])

from lskel.__main__ import main

sys.exit(main())
"""


def main() -> None:
    """The command line."""
    target = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "dist")
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch())}
    with tempfile.TemporaryDirectory() as made:
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", made, str(ROOT)]
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        (source,) = Path(made).glob("*.tar.gz")
        (wheel,) = Path(made).glob("*.whl")
        target.mkdir(parents=True, exist_ok=True)
        (target / source.name).write_bytes(normalized(source.read_bytes(), epoch()))
        (target / wheel.name).write_bytes(wheel.read_bytes())
    pyz = target / "lskel.pyz"
    pyz.write_bytes(zipapp(contents(target / wheel.name)))
    pyz.chmod(pyz.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


def epoch() -> int:
    """The time that everything gets, in seconds since 1970."""
    if (given := os.environ.get("SOURCE_DATE_EPOCH")) is not None:
        return int(given)
    if shutil.which("git") is None:
        return _OLDEST
    command = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return int(done.stdout) if done.returncode == 0 else _OLDEST


def normalized(archive: bytes, when: int) -> bytes:
    """A tar.gz with its members in order, and nobody's times and owners."""
    tar = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(archive)) as old,
        tarfile.open(fileobj=tar, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            member.mtime, member.uid, member.gid, member.uname, member.gname = when, 0, 0, "", ""
            member.pax_headers = {}
            new.addfile(member, old.extractfile(member) if member.isfile() else None)
    return gzip.compress(tar.getvalue(), mtime=when)


def contents(wheel: Path) -> dict[str, bytes]:
    """The files of the zipapp: those of a wheel and of what it needs."""
    with tempfile.TemporaryDirectory() as made:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        place = ["--no-deps", "--no-compile", "--root-user-action=ignore", "--target", made]
        subprocess.run([*pip, *place, "-r", str(REQUIREMENTS), str(wheel)], check=True)
        files = {
            str(path.relative_to(made)): path.read_bytes()
            for path in Path(made).rglob("*")
            if path.is_file() and is_kept(path.relative_to(made))
        }
    return {"__main__.py": _MAIN, **files}


def is_kept(path: Path) -> bool:
    """Whether a file of an installation is for the zipapp.

    Not: scripts and data of other places, what is compiled (markupsafe does without), what only
    type checkers read, and how pip installed it. Licenses stay.
    """
    if path.parts[0] in ("bin", "share") or path.suffix in (".so", ".pyi", ".c"):
        return False
    is_metadata = path.parts[0].endswith(".dist-info")
    return not is_metadata or path.name == "METADATA" or "LICEN" in path.name.upper()


def zipapp(files: Mapping[str, bytes]) -> bytes:
    """A ZIP file that Python runs."""
    packed = io.BytesIO(b"#!/usr/bin/env python3\n")
    packed.seek(0, io.SEEK_END)
    when = time.gmtime(max(epoch(), _OLDEST))[:6]
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, when)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, files[name])
    return packed.getvalue()


if __name__ == "__main__":
    main()
