"""A Python skeleton, copied alone to other machines: no lskel, no packages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import lskel
from lskel.skeleton.python import generate_python
from tests.build.clang import compile_bpf, example
from tests.vm import alone
from tests.vm.job import Job
from tests.vm.machine import Machine

USE = """
import time
with Hello() as skel:
    skel.attach()
    while not skel.bss.calls:
        time.sleep(0.01)
    print("calls", skel.bss.calls, skel.bss.last_comm.decode())
print("closed", len(skel.links))
"""
REPLACED = """
int seen;
__attribute__((noinline)) int part(struct __sk_buff *skb) { return skb->len + 1; }
SEC("tc") int whole(struct __sk_buff *skb) { seen++; return part(skb); }
"""
REPLACING = """
SEC("freplace") int other(struct __sk_buff *skb) { return 1; }
SEC("fentry/bpf_fentry_test1") int entered(void *ctx) { return 0; }
"""
REPLACE = """
from other_lskel import Other
from whole_lskel import Whole

whole, new = Whole(), Other()
whole.load()
new.progs.other.target = f"id:{whole.progs.whole.info().id}:part"
new.load()
print("loaded", [program.info().attach_btf_id > 0 for program in new.progs])
"""


def skeleton(cls: str, content: bytes) -> str:
    """The module of an object."""
    return generate_python(lskel.generate(lskel.open_object(content, cls), "auto"), cls)


def plan(directory: Path) -> Iterator[Job]:
    tool = directory / "tool.py"
    tool.write_text(skeleton("Hello", example("hello").read_bytes()) + USE)
    yield Job("a skeleton alone", alone.run, {"path": str(tool)})
    for cls, source in (("Whole", REPLACED), ("Other", REPLACING)):
        (directory / f"{cls.lower()}_lskel.py").write_text(skeleton(cls, compile_bpf(source)))
    both = directory / "both.py"
    both.write_text(f"import sys; sys.path.insert(0, {str(directory)!r})\n{REPLACE}")
    yield Job("two skeletons, one in the other", alone.run, {"path": str(both)}, 120)


@pytest.mark.vm(jobs=plan)
def test_alone(machine: Machine) -> None:
    printed = machine.value("a skeleton alone").splitlines()
    assert re.fullmatch(r"calls [1-9]\d* \S+", printed[0])
    assert printed[1] == "closed 0"


@pytest.mark.vm(jobs=plan)
def test_targets(machine: Machine) -> None:
    assert machine.value("two skeletons, one in the other") == "loaded [True, True]\n"
