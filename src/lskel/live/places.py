"""Kinds of programs for which one name says where they attach: an interface, a path, a function."""

from __future__ import annotations

from typing import NamedTuple


class PlaceKind(NamedTuple):
    """What the name stands for, with its article, and in a synopsis.

    `in_section`: a section's name may say it, too; else it is the first argument of attach().
    """

    what: str
    metavar: str
    in_section: bool = False


_INTERFACE = PlaceKind("an interface", "INTERFACE")
_TRACEPOINT = PlaceKind("a tracepoint", "TRACEPOINT", in_section=True)


# By the names of the programs' classes.
PLACE_KINDS = {
    "XdpProgram": _INTERFACE,
    "TcProgram": _INTERFACE,
    "NetkitProgram": _INTERFACE,
    "CgroupProgram": PlaceKind("a cgroup", "PATH"),
    "NetnsProgram": PlaceKind("a network namespace", "PATH"),
    "FreplaceProgram": PlaceKind("a program", "PIN[:FUNCTION]"),
    "RawTracepointProgram": _TRACEPOINT,
    "TracepointProgram": _TRACEPOINT,
    "KprobeProgram": PlaceKind("a function", "FUNCTION", in_section=True),
    "KprobeMultiProgram": PlaceKind("functions", "PATTERN", in_section=True),
    "UprobeProgram": PlaceKind("a function", "BINARY:FUNCTION", in_section=True),
    "UprobeMultiProgram": PlaceKind("functions", "BINARY:PATTERN", in_section=True),
    "UsdtProgram": PlaceKind("a probe", "BINARY:PROVIDER:NAME", in_section=True),
}
