"""The report as one HTML page, which needs nothing else."""

from __future__ import annotations

import base64
import gzip
import json

from lskel.describe.plain import plain
from lskel.explain.report import Report


def to_json(report: Report) -> str:
    """The report as JSON, in ASCII."""
    return json.dumps(plain(report), separators=(",", ":"))


def page(report: Report) -> str:
    """The page."""
    data = base64.b64encode(gzip.compress(to_json(report).encode(), 9, mtime=0)).decode()
    return f"<!doctype html><title>lskel</title><script type=application/gzip>{data}</script>"
