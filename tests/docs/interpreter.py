"""Runs pieces of Python, one JSON string a line, one after the other in the same namespace."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from code import InteractiveInterpreter


def main() -> None:
    """Answer each line of standard input by what it printed, with the traceback if it failed."""
    sys.path.insert(0, "")
    interpreter = InteractiveInterpreter({"__name__": "__main__"})
    for line in sys.stdin:
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            interpreter.runcode(compile(json.loads(line), "page", "exec"))
        print(json.dumps(out.getvalue()), flush=True)


if __name__ == "__main__":
    main()
