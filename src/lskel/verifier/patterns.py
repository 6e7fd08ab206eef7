"""Messages of the verifier as templates: the kernel's own format, with names for what varies.

``R{reg} unbounded memory access*``: a name in braces stands for what it means, a star for the rest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

# The kernel prints a message by way of a buffer of 1024 bytes (BPF_VERIFIER_TMP_LOG_SIZE); those
# that are explained have less than half of that, and longer ones would take long to be matched.
_LONGEST = 512
_NUMBER = r"-?\d{1,20}"
# What names stand for; all others for any text.
_SLOTS = {
    "reg": r"\d{1,3}",
    "insn": r"\d{1,9}",
    "arg": r"\d{1,3}",
    "off": _NUMBER,
    "size": _NUMBER,
    "number": _NUMBER,
    # An offset below the stack that a program has (MAX_BPF_STACK is 512).
    "deep": r"-(?:51[3-9]|5[2-9]\d|[6-9]\d\d|\d{4,20})",
    # What libbpf puts for kernel functions that it does not find: it adds the relocation's number.
    "missing_kfunc": r"2002\d{6}",
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
    """What the names of the template stand for in a message; None where it is not of that form."""
    found = _compiled(template).fullmatch(message[:_LONGEST])
    return None if found is None else found.groupdict()
