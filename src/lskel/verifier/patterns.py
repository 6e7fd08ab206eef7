"""Templates of verifier messages: the kernel's format, with names for what varies.

``R{reg} unbounded memory access*``: a name in braces is a slot, a star matches any text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

# The kernel formats a message in a buffer of 1024 bytes (BPF_VERIFIER_TMP_LOG_SIZE); explained ones
# are less than half as long, and matching longer ones would be slow.
_LONGEST = 512
_NUMBER = r"-?\d{1,20}"
# The patterns of slots; other slots match any text.
_SLOTS = {
    "reg": r"\d{1,3}",
    "insn": r"\d{1,9}",
    "arg": r"\d{1,3}",
    "off": _NUMBER,
    "size": _NUMBER,
    "number": _NUMBER,
    # An offset below the program's stack (MAX_BPF_STACK is 512).
    "deep": r"-(?:51[3-9]|5[2-9]\d|[6-9]\d\d|\d{4,20})",
    # libbpf's value for missing kernel functions: plus the relocation's number.
    "missing_kfunc": r"2002\d{6}",
    "missing_map": r"2001\d{6}",
}
_PIECES = re.compile(r"\{(\w+)\}|(\*)|([^{*]+)")


@cache
def _compiled(template: str) -> re.Pattern[str]:
    parts = []
    for name, star, literal in _PIECES.findall(template):
        if name:
            parts.append(f"(?P<{name}>{_SLOTS.get(name, '.+?')})")
        else:
            parts.append(".*?" if star else re.escape(literal))
    return re.compile("".join(parts))


def slots(template: str, message: str) -> Mapping[str, str] | None:
    """The slots of the template in a message; None if it does not match."""
    found = _compiled(template).fullmatch(message[:_LONGEST])
    return None if found is None else found.groupdict()
