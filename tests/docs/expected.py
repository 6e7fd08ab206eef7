"""Whether a command printed what a page says it does.

Spaces and line breaks do not count. `...` stands for anything. In what root's commands print,
numbers of two digits and more, and hexadecimal ones, stand for any: what they measure varies.
"""

from __future__ import annotations

import re

_ANYTHING = "..."
_NUMBER = re.compile(r"0x[0-9a-f]+|\d{2,}")


def is_shown(shown: str, printed: str, *, numbers_vary: bool) -> bool:
    """Whether all that was printed is what is shown."""
    regex = ""
    for word in shown.split():
        if word == _ANYTHING:
            regex += r"(?:\s.*?)??"
        else:
            regex += r"\s+" + _word(word, numbers_vary)
    return re.fullmatch(regex + r"\s*", f"\n{printed}", re.DOTALL) is not None


def _word(word: str, numbers_vary: bool) -> str:
    return ".*?".join(_literal(part, numbers_vary) for part in word.split(_ANYTHING))


def _literal(text: str, numbers_vary: bool) -> str:
    if not numbers_vary:
        return re.escape(text)
    parts, end = [], 0
    for match in _NUMBER.finditer(text):
        parts.append(re.escape(text[end : match.start()]))
        parts.append("0x[0-9a-f]+" if match[0].startswith("0x") else r"\d+")
        end = match.end()
    return "".join([*parts, re.escape(text[end:])])
