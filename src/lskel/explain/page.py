"""The report as one HTML page, which needs no network and no other files.

The page is built from web/ (`npm run build`); the report is inserted here.
"""

from __future__ import annotations

import base64
import gzip
import html
import json
import re
from collections.abc import Iterator
from importlib.resources import files

from lskel.describe.jsonable import jsonable
from lskel.errors import printable
from lskel.explain.report import Report

_PLACEHOLDER = re.compile(r"\{\{(title|summary|report)\}\}")


def to_json(report: Report) -> str:
    """The report as JSON, in ASCII."""
    return json.dumps(jsonable(report), separators=(",", ":"))


def page(report: Report) -> bytes:
    """The page, in UTF-8. The same report gives the same bytes.

    The report is embedded as base64 of its gzipped JSON, which cannot end an HTML element.
    """
    packed = gzip.compress(to_json(report).encode(), 9, mtime=0)
    parts = {
        "title": _text(f"{report.meta.file or report.meta.name} - lskel explain"),
        "summary": "\n".join(f"<p>{_text(line)}</p>" for line in _summary(report)),
        "report": base64.b64encode(packed).decode(),
    }
    frame = files("lskel.explain").joinpath("assets").joinpath("page.html").read_text("utf-8")
    # In one pass: inserted text may look like a placeholder.
    return _PLACEHOLDER.sub(lambda match: parts[match[1]], frame).encode()


def _text(text: str) -> str:
    """Escaped text: file names and names in files are not trusted."""
    return html.escape(printable(text)).encode("utf-8", "backslashreplace").decode()


def _summary(report: Report) -> Iterator[str]:
    """The text for a browser without scripts."""
    meta = report.meta
    yield (
        f"{meta.name}: {meta.source}, {meta.order}-endian, {len(report.maps)} maps, "
        f"{len(report.programs)} programs"
    )
    if report.blob is not None and report.loader is not None:
        yield (
            f"{meta.form} loader: {report.loader.insns} instructions, {report.blob.size} bytes of "
            f"data, {len(report.ops)} operations"
        )
    yield from _problems(report)


def _problems(report: Report) -> Iterator[str]:
    if report.problem:
        yield f"Cannot be loaded: {report.problem}"
    for how, replay in (("simulator", report.simulation), ("kernel", report.measurement)):
        if replay is not None and replay.failure is not None:
            yield f"Fails in the {how}: {replay.failure.message}"
