"""Markdown tables and SVG plots."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pygal
from pygal.style import CleanStyle

PLOTS = Path(__file__).with_name("plots")

_SCRIPT = re.compile(r"<script.*?</script>", re.DOTALL)

# The points of each line, by name.
Lines = Mapping[str, Sequence[tuple[int, float]]]


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a Markdown table."""
    yield f"| {' | '.join(heads)} |"
    yield f"|{'|'.join('---' for _ in heads)}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def plot(name: str, title: str, x_title: str, y_title: str, lines: Lines) -> str:
    """Draw lines with logarithmic scales to plots/NAME.svg; returns the Markdown that shows it."""
    points = [point for line in lines.values() for point in line]
    decades = range(
        math.floor(math.log10(min(y for _, y in points))),
        math.ceil(math.log10(max(y for _, y in points))) + 1,
    )
    chart = pygal.XY(
        title=title,
        x_title=x_title,
        y_title=y_title,
        logarithmic=True,
        width=720,
        height=400,
        style=CleanStyle,
        # Otherwise the file has scripts of other sites, and a random id.
        js=(),
        no_prefix=True,
        disable_xml_declaration=True,
        dots_size=2,
        legend_at_bottom=True,
        legend_at_bottom_columns=5,
        x_labels=sorted({x for x, _ in points}),
        y_labels=[10**decade for decade in decades],
    )
    for name_of_line, line in lines.items():
        chart.add(name_of_line, list(line))
    PLOTS.mkdir(exist_ok=True)
    path = PLOTS / f"{name}.svg"
    path.write_text(_SCRIPT.sub("", chart.render(is_unicode=True)) + "\n")
    return f"![{title}](plots/{path.name})"
