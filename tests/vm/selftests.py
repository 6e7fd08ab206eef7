"""The objects of the corpus, loaded in a machine in three ways."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from functools import cache
from pathlib import Path
from typing import NamedTuple

import lskel
from lskel.loader.model import Loader
from tests import bpftool, corpus
from tests.vm import guest, loads
from tests.vm.job import End, Job, Outcome


class Way(Enum):
    """How an object gets into the kernel."""

    LIBBPF = "libbpf 1.8"
    BPFTOOL = "bpftool 7.8 -L"
    LSKEL = "lskel"


class Result(Enum):
    """What came of it."""

    LOADED = "loads"
    REFUSED = "refused"
    NOT_GENERATED = "not generated"
    SLOW = "takes too long"
    BROKEN = "broken"  # the process or the machine, not the load


class Verdict(NamedTuple):
    """What one way did with one object in one kernel, and why."""

    result: Result
    why: str = ""


# Some objects use their kernel functions.
MODULES = Job("modules", guest.load_modules, {"names": ["nf_conntrack", "nf_nat"]})

Verdicts = Mapping[Way, Mapping[str, Verdict]]


def jobs(paths: Iterable[Path], directory: Path, limit: float) -> Iterator[Job]:
    """The loads of these objects; their bundles are made here, in the directory."""
    headers = _headers()
    for path in paths:
        direct = {"path": str(path), "bpftool": bpftool.command()}
        yield Job(_name(Way.LIBBPF, path), loads.by_libbpf, direct, limit)
        if headers[path].ok:
            header = {"header": str(headers[path].path)}
            yield Job(_name(Way.BPFTOOL, path), loads.by_bpftool, header, limit)
        if isinstance(loader := _loader(path), Loader):
            bundle = directory / f"{path.stem}.lskel"
            loader.save(bundle)
            yield Job(_name(Way.LSKEL, path), loads.by_lskel, {"path": str(bundle)}, limit)


def verdicts(paths: Iterable[Path], outcomes: Mapping[str, Outcome]) -> Verdicts:
    """What the outcomes of `jobs` say, by way and name of the object."""
    return {way: {path.stem: _verdict(way, path, outcomes) for path in paths} for way in Way}


def only(verdicts: Verdicts, one: Way, other: Way) -> dict[str, Verdict]:
    """The objects that one way loads and the other does not, with the other's verdict."""
    return {
        name: verdicts[other][name]
        for name, verdict in verdicts[one].items()
        if verdict.result is Result.LOADED and verdicts[other][name].result is not Result.LOADED
    }


def _verdict(way: Way, path: Path, outcomes: Mapping[str, Outcome]) -> Verdict:
    if way is Way.BPFTOOL and not (header := _headers()[path]).ok:
        return Verdict(Result.NOT_GENERATED, header.reason)
    if way is Way.LSKEL and isinstance(error := _loader(path), lskel.LskelError):
        return Verdict(Result.NOT_GENERATED, str(error))
    outcome = outcomes[_name(way, path)]
    if outcome.end is End.RETURNED:
        return Verdict(Result.REFUSED if outcome.value else Result.LOADED, outcome.value)
    result = Result.SLOW if outcome.end is End.TIMEOUT else Result.BROKEN
    return Verdict(result, outcome.detail)


def _name(way: Way, path: Path) -> str:
    return f"{path.stem} by {way.value}"


@cache
def _headers() -> dict[Path, corpus.Product]:
    return {product.source: product for product in corpus.light_skeletons()}


@cache
def _loader(path: Path) -> Loader | lskel.LskelError:
    try:
        return lskel.generate(lskel.open_object(path))
    except lskel.LskelError as error:
        return error
