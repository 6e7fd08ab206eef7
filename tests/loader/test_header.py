"""Light skeleton headers: both styles of string literals."""

from __future__ import annotations

import pytest

import lskel
from lskel.loader.header import is_header, parse_header

# An old header assigns to members of opts, a new one names arrays; both escape alike.
OLD = r"""
	opts.data_sz = 6;
	opts.data = (void *)"\
\x7f\0\0\x30\
\x0a\xff";
	opts.insns_sz = 3;
	opts.insns = (void *)"\
\0\x22\x5c";
"""
NEW = r"""
	static const char opts_data[] __attribute__((__aligned__(8))) = "\
\x7f\0\0\x30\
\x0a\xff";
	static const char opts_insn[] __attribute__((__aligned__(8))) = "\
\0\x22\x5c";
	opts.data_sz = sizeof(opts_data) - 1;
	opts.data = (void *)opts_data;
"""
NAMES = """
struct hello {
	struct bpf_loader_ctx ctx;
	struct { struct bpf_map_desc counts; struct bpf_map_desc rodata; } maps;
	struct { struct bpf_prog_desc on_exec; } progs;
"""


@pytest.mark.parametrize("text", [OLD, NEW], ids=["old", "new"])
def test_parse(text: str) -> None:
    skeleton = parse_header(NAMES + text)
    assert skeleton.blob == b"\x7f\0\0\x30\x0a\xff"
    assert skeleton.insns == b"\0\x22\x5c"
    assert (skeleton.maps, skeleton.programs) == (("counts", "rodata"), ("on_exec",))
    assert skeleton.context_size == 24 + 2 * 16 + 4
    assert is_header((NAMES + text).encode())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("int main(void) { return 0; }", "not a light skeleton: .* instructions is missing"),
        (OLD.replace("opts.data =", "opts.x ="), "loader's data is missing"),
        (OLD.replace(r"\x7f", r"\n"), "loader's data is not in bpftool's format"),
    ],
)
def test_parse_something_else(text: str, message: str) -> None:
    with pytest.raises(lskel.BadInput, match=message):
        parse_header(text)
