"""Light skeleton headers: both styles of string literals, both byte orders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import lskel
from lskel.loader.header import LightSkeleton, is_header, parse_header
from tests.build.clang import compile_bpf
from tests.cli.in_process import lskel as command
from tests.conftest import Run

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


SOURCE = """
struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, int); __type(value, long);
         __uint(max_entries, 8); } counts SEC(".maps");
int start = 7;
const volatile unsigned divisor = 3;
static __noinline unsigned half(unsigned x) { return x / divisor; }
SEC("socket") int count(void *ctx)
{
    int key = start++;
    long value = half(key);
    return bpf_map_update_elem(&counts, &key, &value, BPF_ANY);
}
SEC("tp_btf/sys_enter") int enter(void *ctx) { return 0; }
"""


@pytest.mark.parametrize("order", ["little", "big"])
def test_headers_of_both_byte_orders(tmp_path: Path, reference: Run, order: str) -> None:
    """Of bpftool and of lskel, whatever the machine's order: the calls of the object's loader."""
    path = tmp_path / "made.bpf.o"
    path.write_bytes(compile_bpf(SOURCE, big_endian=order == "big"))
    theirs, ours = tmp_path / "made.lskel.h", tmp_path / "ours.h"
    theirs.write_text(reference("gen", "skeleton", "-L", path, "name", "made"))
    command("gen", path, "-o", ours)
    calls, _ = command("trace", path)
    assert "BPF_PROG_LOAD" in calls
    for header in (theirs, ours):
        assert parse_header(header.read_text()).order == order
        assert command("trace", header) == (calls, "")
        assert command("diff", header, path)[0].startswith("the same ")
        report, _ = command("explain", path, "--against", header, "--json")
        against = json.loads(report)["against"]
        assert against["meta"]["order"] == order
        assert {call["status"] for call in against["calls"]} == {"same"}
        shown, _ = command("inspect", header)
        assert f": light skeleton header, {order}-endian\nloader: " in shown
        assert shown.endswith(f"Calls of one run in the simulator\n{calls}")
        summary = json.loads(command("inspect", header, "--json")[0])
        assert (summary["order"], summary["loader"]["context"]) == (order, 24 + 3 * 16 + 2 * 4)
        assert [call["cmd"] for call in summary["calls"]] == [
            line.split()[1].partition("(")[0] for line in calls.splitlines()
        ]


@pytest.mark.parametrize("insns", [b"", bytes(16), b"\xbf\x11" + bytes(6), b"\xbf\x67" + bytes(6)])
def test_byte_order_unknown(tmp_path: Path, insns: bytes) -> None:
    with pytest.raises(lskel.BadInput, match="does not copy the context: byte order unknown"):
        _ = LightSkeleton(insns, b"", (), ()).order
    path = tmp_path / "x.h"
    digits = "".join(f"\\x{byte:02x}" for byte in insns)
    path.write_text(NAMES + NEW.replace(r"\0\x22\x5c", digits))
    for name in ("trace", "inspect"):
        _, said = command(name, path, status=1)
        assert said.startswith(f"lskel: {path}: its first instruction does not copy the context")
