"""CO-RE flavors of type names: ``task_struct___old`` matches the kernel's ``task_struct``."""

from __future__ import annotations

import re

# Three underscores with another character on either side (Documentation/bpf/llvm_reloc.rst).
_FLAVOR = re.compile(r"(?<=[^_])___(?=[^_])")


def essential_name(name: str) -> str:
    """The name without its last ``___flavor``."""
    if "___" not in name:
        return name
    marks = list(_FLAVOR.finditer(name))
    return name[: marks[-1].start()] if marks else name
