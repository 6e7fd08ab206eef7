"""Running loader programs."""

from __future__ import annotations

import errno

import pytest

import lskel
from lskel.runtime import loader as module
from lskel.runtime.objects import Fd
from lskel.runtime.syscall import LOAD_ATTEMPTS
from tests.build.clang import example
from tests.loads import load_by_loader

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("form", ["table", "unrolled"])
@pytest.mark.parametrize("times", [1, LOAD_ATTEMPTS - 1, LOAD_ATTEMPTS])
def test_a_signal_makes_it_run_again(
    times: int, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verifier gives up where a signal is pending; what the loader wrote does not stay."""
    real, refused = module._run_once, 0

    def interrupted(program: Fd, context: bytearray) -> int:
        nonlocal refused
        if refused == times:
            return real(program, context)
        refused += 1
        context[-4:] = b"\xff\xff\xff\xff"  # the program is left out, it would say
        return -errno.EAGAIN

    monkeypatch.setattr(module, "_run_once", interrupted)
    loader = lskel.generate(lskel.open_object(example("hello")), form)
    if times == LOAD_ATTEMPTS:
        with pytest.raises(lskel.ReplayError, match=r"EAGAIN|before its first call"):
            load_by_loader(loader)
        return
    with load_by_loader(loader) as bpf:
        assert bpf.progs["hello"].info().id
