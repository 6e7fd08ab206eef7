"""The bundle: a loader in one file, a ZIP archive.

ZIP because every system has tools that list and unpack it, Python's standard library reads it, it
checks its contents (CRC-32) and compresses. docs/bundle.md describes the members:

    lskel.json   the description: format, version, form, trace, what lies where in the blob
    blob.bin     the value of the loader's map
    insns.bin    the loader's instructions

The same loader gives the same bytes: members have a fixed order and date.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

from lskel._version import __version__
from lskel.errors import BadBundle, LskelError, UsageError, at
from lskel.loader.blob import MAX_SIZE
from lskel.loader.description import describe, restore
from lskel.loader.model import Loader
from lskel.loader.verify import compare
from lskel.output import write_whole

FORMAT = "lskel"
GENERATOR = f"lskel {__version__}"
VERSION = 1
MAGIC = b"PK\x03\x04"
DESCRIPTION, BLOB, INSNS = "lskel.json", "blob.bin", "insns.bin"
# ZIP's first date; a file's contents should not depend on when it was written.
_DATE = (1980, 1, 1, 0, 0, 0)
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError)


def dump(loader: Loader) -> bytes:
    """The bundle's bytes."""
    out = io.BytesIO()
    header = {"format": FORMAT, "version": VERSION, "generator": GENERATOR}
    description = json.dumps(header | describe(loader), separators=(",", ":"), ensure_ascii=True)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (
            (DESCRIPTION, description.encode()),
            (BLOB, loader.blob),
            (INSNS, loader.insns),
        ):
            member = zipfile.ZipInfo(name, _DATE)
            member.external_attr = 0o644 << 16
            archive.writestr(member, content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def save(loader: Loader, path: str | os.PathLike[str]) -> None:
    """Write the bundle; the file appears whole or not at all. UsageError where it cannot be."""
    write_whole(path, dump(loader))


def load(source: str | os.PathLike[str] | bytes) -> Loader:
    """Read a bundle; BadBundle where it is none, is damaged, or is of a later version."""
    if isinstance(source, bytes):
        return _load(source)
    with at(os.fspath(source)):
        try:
            content = Path(source).read_bytes()
        except OSError as error:
            raise UsageError(error.strerror or str(error)) from error
        return _load(content)


def _load(content: bytes) -> Loader:
    if not content.startswith(MAGIC):
        raise BadBundle("not an lskel bundle", hint="make one with `lskel gen`")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: _member(archive, name) for name in (DESCRIPTION, BLOB, INSNS)}
    except _DAMAGE as error:
        raise BadBundle(f"damaged bundle: {error}") from error
    try:
        description = json.loads(members[DESCRIPTION])
    except ValueError as error:
        raise BadBundle(f"{DESCRIPTION}: {error}") from error
    except RecursionError as error:
        raise BadBundle(f"{DESCRIPTION}: nested too deeply") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise BadBundle(f"{DESCRIPTION} is not a description of a loader")
    if description.get("version") != VERSION:
        raise BadBundle(
            f"bundle version {description.get('version')} is unknown, this lskel reads {VERSION}",
            hint="use the lskel that wrote it, or a later one",
        )
    try:
        loader = restore(description, members[BLOB], members[INSNS])
    except LskelError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise BadBundle(f"{DESCRIPTION}: {type(error).__name__}: {error}") from error
    return replace(
        loader,
        compared=compare(
            loader,
            context_size=description.get("context_size"),
            same_version=description.get("generator", GENERATOR) == GENERATOR,
        ),
    )


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise BadBundle(f"damaged bundle: there is no {name}") from None
    if info.file_size > MAX_SIZE:
        raise BadBundle(f"{name}: {info.file_size} bytes are more than {MAX_SIZE}")
    return archive.read(info)
