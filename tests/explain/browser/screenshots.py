"""The picture in the README: ``python -m tests.explain.browser.screenshots`` makes it anew."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from tests.build.clang import example
from tests.explain.browser.browser import browser
from tests.explain.browser.conftest import explain

_TARGET = Path(__file__).parents[3] / "docs" / "images" / "explain.png"


def main() -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        page = explain(folder / "page.html", example("execsnoop"))
        with browser(folder / "profile") as tab:
            tab.size(1240, 760)
            tab.open(page, "#blob=0x150")
            tab.find(".detail h2")
            tab.picture(_TARGET)


if __name__ == "__main__":
    main()
