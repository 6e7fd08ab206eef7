"""docs/support.md is what the measured tables sum up to."""

from __future__ import annotations

from tests.docs.support import DOCS, lines, rows


def test_up_to_date() -> None:
    assert "\n".join(lines()) + "\n" == (DOCS / "support.md").read_text(), (
        "run `python -m tests.docs.support > docs/support.md`"
    )


def test_kernels_are_those_of_both_tables() -> None:
    heading, *kinds = rows(DOCS / "attach.md", "kind")
    assert len(heading) == 4 and len(kinds) > 80
    assert all(len(cells) == len(heading) for cells in kinds)
    assert len(rows(DOCS / "kernels.md", "kernel")) == len(heading)
