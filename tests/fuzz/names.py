"""Names that do something where they get into generated text or onto a terminal as they are."""

from __future__ import annotations

# What hostile names call. Nothing generated may call it: see tests/fuzz/outputs.py.
MARK = "PWNED"

_TEXTS = (
    # Python and C
    f'"+{MARK}()+"',
    f"'+{MARK}()+'",
    f'"""\n{MARK}()\n"""',
    f"'''\n{MARK}()\n'''",
    f'""";{MARK}();"""',
    f"\n{MARK}()\n",
    f"\r{MARK}()\r",
    f"\f{MARK}()\x1c{MARK}()\u2028{MARK}()",
    f"\\\n{MARK}()",
    f"x):\n    {MARK}()",
    f"x={MARK}()",
    f"__import__('os').system('{MARK}')",
    f'"+__import__("os").system("{MARK}")+"',
    f"*/ {MARK}(); /*",
    f'"; {MARK}(); "',
    f"x; {MARK}(); int y",
    f"??/\n{MARK}();",
    f'??/"; {MARK}(); //',
    f"\n#define x {MARK}()\n",
    *("\\", '"', "'", '"""', "*/", "//", "(,)", "%s%n", "{0.__class__}"),
    *("class", "None", "__init__", "__class__", "__slots__", "self", "int", "struct", "errno"),
    *("import", "property", "ctx", "skel", "NULL", "size_t", "load", "close", "maps", "data"),
    # identifiers that Python takes for others
    *("\ufb01le", "\u00aa", "\u017f\u017f", "x\u0301", "\U0001d4d0"),
    # templates, cookies, shells, pages
    f"{{{{{MARK}()}}}}",
    f"{{% {MARK}() %}}",
    f"#{{{MARK}()}}",
    "coding: utf-7",
    f"$({MARK})",
    f"`{MARK}`",
    f"</script><script>{MARK}()</script>",
    f"<!--<script>{MARK}()",
    # terminals
    f"\x1b]0;{MARK}\x07",
    "\x1b[2J",
    "\x9b2J",
    "\u202eevil",
    "\b\b\b",
    "[bold]x[/bold]",
    # paths, lengths, nothing
    *("../../../x", "/dev/null", "-o", ".", "a.b.c", "?x", "x" * 15, "x" * 16, "x" * 300),
    *("", " ", "\t", "\n", "\0", "\ud800", "\uffff"),
)
NAMES: tuple[bytes, ...] = (
    *(text.encode("utf-8", "surrogatepass") for text in _TEXTS),
    *(b"\xff\xfe", b"x\x80", b"n" * 65536),
)
