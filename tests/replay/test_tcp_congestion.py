"""struct_ops of the corpus at work: TCP congestion controls on a real connection."""

from __future__ import annotations

from pathlib import Path

import pytest

import lskel
from tests import corpus
from tests.replay.tcp_congestion import SIZE, exercise

pytestmark = [pytest.mark.corpus, pytest.mark.kernel, pytest.mark.usefixtures("corpus_tools")]


@pytest.mark.parametrize(
    ("stem", "name", "without"),
    # Of dctcp's two maps only one can be registered: the other has no name.
    [("bpf_cubic", "bpf_cubic", ""), ("bpf_dctcp", "bpf_dctcp", "dctcp_nouse")],
)
def test_congestion_control(tmp_path: Path, stem: str, name: str, without: str) -> None:
    obj = lskel.open_object(next(path for path in corpus.objects() if path.stem == stem))
    if without:
        obj = obj.with_map(without, autocreate=False)
    bundle = tmp_path / "cc.lskel"
    lskel.generate(obj).save(bundle)
    done = exercise(str(bundle), name)
    assert done["used"] == name and done["carried"] == SIZE
    assert done["attached"] == ["struct_ops/tcp_congestion_ops"]
    runs = done["runs"]
    assert isinstance(runs, dict) and sum(runs.values()) > 0
    assert not done["still_there"]
