"""The bundle: a loader in one file, a ZIP archive.

ZIP because tools for it are everywhere, it has checksums (CRC-32) and compression. docs/bundle.md
describes the members:

    lskel.json   the description: format, version, form, trace, regions of the blob
    blob.bin     the value of the loader's map
    insns.bin    the loader's instructions

The same loader gives the same bytes: members have a fixed order and date.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NoReturn

from lskel import budget
from lskel._version import __version__
from lskel.errors import BadBundle, LskelError, at
from lskel.input import read_input
from lskel.loader.archive import MAGIC, read_members
from lskel.loader.blob import MAX_SIZE
from lskel.loader.description import brief, describe, restore
from lskel.loader.model import Loader
from lskel.loader.verify import compare
from lskel.output import write_whole

FORMAT = "lskel"
GENERATOR = f"lskel {__version__}"
VERSION = 1
DESCRIPTION, BLOB, INSNS = "lskel.json", "blob.bin", "insns.bin"
# The first date of ZIP; the file must not depend on the time of writing.
_DATE = (1980, 1, 1, 0, 0, 0)
_LIMITS = {DESCRIPTION: budget.DESCRIPTION, BLOB: MAX_SIZE, INSNS: budget.INSNS}
# Maximum digits of a 64-bit number.
_DIGITS = 20


def dump(loader: Loader) -> bytes:
    """The bundle's bytes; LskelError if reading them would fail or change the loader."""
    header = {"format": FORMAT, "version": VERSION, "generator": GENERATOR}
    description = json.dumps(header | describe(loader), separators=(",", ":"), ensure_ascii=True)
    members = {DESCRIPTION: description.encode(), BLOB: loader.blob, INSNS: loader.insns}
    with at("cannot be written as a bundle"):
        for name, content in members.items():
            budget.check(len(content), _LIMITS[name], f"bytes of {name}")
        if _restored(_description(members), members) != loader:
            raise BadBundle("it does not survive a round trip")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            member = zipfile.ZipInfo(name, _DATE)
            member.external_attr = 0o644 << 16
            archive.writestr(member, content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def save(loader: Loader, path: str | os.PathLike[str]) -> None:
    """Write the bundle atomically. UsageError if the file cannot be written."""
    write_whole(path, dump(loader))


def load(source: str | os.PathLike[str] | bytes) -> Loader:
    """Read a bundle.

    BadBundle if it is not a bundle, corrupt, or of a later version; LimitExceeded if it is too
    large.
    """
    if isinstance(source, bytes):
        return _load(source)
    with at(os.fspath(source)):
        return _load(read_input(source))


def _load(content: bytes) -> Loader:
    if not content.startswith(MAGIC):
        raise BadBundle("not an lskel bundle", hint="create one with `lskel gen`")
    members = read_members(content, _LIMITS)
    description = _description(members)
    loader = _restored(description, members)
    compared = compare(
        loader,
        context_size=description.get("context_size"),
        same_version=description.get("generator", GENERATOR) == GENERATOR,
    )
    return replace(loader, compared=compared)


def _description(members: Mapping[str, bytes]) -> dict[str, Any]:
    with at(DESCRIPTION):
        description = _parsed(members[DESCRIPTION])
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise BadBundle(f"{DESCRIPTION} is not a loader description")
    version = description.get("version")
    if version != VERSION:
        raise BadBundle(
            f"bundle version {brief(version)} is unknown, expected {VERSION}",
            hint="use the lskel version that wrote it, or a later one",
        )
    return description


def _restored(description: dict[str, Any], members: Mapping[str, bytes]) -> Loader:
    with at(DESCRIPTION):
        try:
            return restore(description, members[BLOB], members[INSNS])
        except LskelError:
            raise
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise BadBundle(f"{type(error).__name__}: {brief(error)}") from error


def _parsed(text: bytes) -> Any:
    # Each value except the first follows one of these.
    values = sum(text.count(sign) for sign in b"[{,:")
    budget.check(values, budget.VALUES, "values")
    try:
        return json.loads(
            text.decode(),
            parse_int=_integer,
            parse_float=_no_integer,
            parse_constant=_no_integer,
            object_pairs_hook=_object,
        )
    except LskelError:
        raise
    except ValueError as error:
        raise BadBundle(str(error)) from error
    except RecursionError as error:
        raise BadBundle("nested too deeply") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise BadBundle("an object has duplicate names")
    return found


def _integer(digits: str) -> int:
    if len(digits) > _DIGITS:
        _no_integer(digits)
    return int(digits)


def _no_integer(text: str) -> NoReturn:
    raise BadBundle(f"{brief(text)} is not a 64-bit integer")
