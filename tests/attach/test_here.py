"""Each way to attach, on this kernel."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from pathlib import Path

import pytest

from lskel.bpf.enums import AttachType, LinkType
from lskel.bpf.names import enum_name
from lskel.errors import NotSupported
from lskel.runtime.attach.link import BpfLink, Link
from lskel.runtime.attach.perf_event import PerfType
from tests import bpftool
from tests.attach.cases import CASES
from tests.attach.cases.case import Case
from tests.attach.exercise import Runs, bundle, check, exercise
from tests.attach.freplace import check_results, replace_functions
from tests.conftest import lacking

by_case = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


def kernel_config() -> str:
    path = Path("/proc/config.gz")
    if not path.exists():
        lacking("the kernel does not tell its configuration (CONFIG_IKCONFIG_PROC)")
    return gzip.decompress(path.read_bytes()).decode()


# What bpftool calls the fields of `struct bpf_link_info`.
_ITS_NAMES = {
    "hook": "hooknum",
    "prio": "priority",
    "func_cnt": "count",
    "file": "file_name",
    "func": "func_name",
    "tracepoint": "tp_name",
    "event_config": "config",
    "event_type": "type",
}


def agrees_with_bpftool(link: Link) -> None:
    """The info of each link, with its details; other attachments have none."""
    if not isinstance(link, BpfLink):
        for one in getattr(link, "links", ()):
            agrees_with_bpftool(one)
        with pytest.raises(NotSupported):
            link.info()
        return
    info = link.info()
    if not bpftool.command():
        lacking("bpftool 7.8 cannot be installed here")
    # It exits with 255 where it cannot list processes too.
    command = [*bpftool.command(), "-j", "link", "show", "id", str(info.id)]
    its = json.loads(subprocess.run(command, capture_output=True, check=False).stdout)
    assert enum_name(LinkType, info.type) == its["type"]
    assert info.prog_id == its.get("prog_id", 0)
    names = {key: _ITS_NAMES.get(key, key) for key in its.keys() - {"id", "type", "prog_id"}}
    compared = {key: name for key, name in names.items() if name in info.details}
    assert compared or not info.details, its
    for key, name in compared.items():
        ours = info.details[name]
        if key == "event_config" and not isinstance(its[key], int):
            continue  # a name, as of perf list
        said = ours.name.lower() if isinstance(ours, AttachType) else ours
        if key == "event_type" and isinstance(ours, int):
            said = PerfType(ours).name.lower()
        assert said == its[key], (key, its)
    if info.type == LinkType.UPROBE_MULTI:
        for name in ("offset", "ref_ctr_offset", "cookie"):
            assert info.details[f"{name}s"] == tuple(place[name] for place in its["funcs"])


@pytest.mark.kernel
@by_case
def test_here(case: Case, tmp_path: Path) -> None:
    runs = exercise(case.name, bundle(case.object, tmp_path), agrees_with_bpftool)
    check(case, Runs(*runs), os.uname().release, kernel_config())


@pytest.mark.kernel
def test_freplace(tmp_path: Path) -> None:
    target, source = bundle("freplace_target", tmp_path), bundle("freplace", tmp_path)
    check_results(replace_functions(target, source), kernel_config())
