"""What the site takes from outside docs/: pages of the project, and the files that pages link to.

Links in Markdown files lead from file to file in the repository, so that they work in any viewer
of it. Where a link leaves docs/, the site gets the file that it leads to, under the same path.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
# Pages of the site, and where they are in the repository.
PAGES = {
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "benchmarks.md": "benchmarks/results.md",
}
# A link or an image: what comes before its target, the target's path, an anchor.
_LINK = re.compile(r"(\]\()(?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the project, and every file outside docs/ that a page links to."""
    for name, source in PAGES.items():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / source)))
    for page in list(files.documentation_pages()):
        for _, target, _ in _LINK.findall(page.content_string):
            place = _in_site(page.src_uri, target)
            path = ROOT / place
            if files.get_file_from_path(place) is None and path.is_file():
                files.append(File.generated(config, place, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make links between files of the repository links between files of the site."""
    here = page.file.src_uri

    def link(match: re.Match[str]) -> str:
        target = posixpath.relpath(_in_site(here, match[2]), posixpath.dirname(here) or ".")
        return f"{match[1]}{target}{match[3] or ''}"

    return _LINK.sub(link, markdown)


def _in_site(page: str, target: str) -> str:
    """Where in the site is what a page links to."""
    source = PAGES.get(page, f"docs/{page}")
    place = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    for name, path in PAGES.items():
        if place == path:
            return name
    return place.removeprefix("docs/")
