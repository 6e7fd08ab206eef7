"""The disassembler against LLVM's, against bpftool's, and on bytes that are no code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lskel.bpf.disasm import Names, disassemble, format_insn
from lskel.bpf.insn import (
    OP_CALL,
    OP_LD_IMM64,
    SIZE,
    CallKind,
    Insn,
    Pseudo,
)
from lskel.cursor import ByteOrder
from tests.conftest import Run

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ORDERS: tuple[ByteOrder, ...] = ("little", "big")
TARGETS: dict[ByteOrder, str] = {"little": "bpfel", "big": "bpfeb"}

# Immediates of the atomic operations, and one that is none.
_ATOMIC = (0, 0x40, 0x50, 0xA0, 1, 0x41, 0x51, 0xA1, 0xE1, 0xF1, 0x100, 0x110, 0x10)
# (src, off, imm): for each instruction at least one in which all reserved fields are 0.
_FIELDS = (
    *((0, 0, imm) for imm in (0, 5, -5, 16, 32, 64, 0x7FFFFFFF, -0x80000000)),
    *((0, off, imm) for off in (1, 4, -4) for imm in (0, 5, -5)),
    *((2, off, imm) for off in (0, 1, 4, -4, 8, 16, 32) for imm in (0, 5)),
    *((1, 0, 5), (1, 0, -5), (1, 0, 0)),
    *((2, 4, imm) for imm in _ATOMIC),
)
# What LLVM 19 does not know: LLVM 20 has the first two, the third came with Linux 6.19.
_LATER = ("load_acquire", "store_release", "gotox")


def _instructions() -> Iterator[Insn]:
    for op in range(256):
        for dst in (0, 1):
            for src, off, imm in dict.fromkeys(_FIELDS):
                # Other ld_imm64s are none to LLVM, or it prints how it means to relocate them.
                if op != OP_LD_IMM64 or (src, off) == (0, 0):
                    yield Insn(op, dst, src, off, imm)


def _normal(text: str) -> str:
    """What LLVM and the kernel write in different ways, in one."""
    text = re.sub(r" <\S+>$", "", text)
    text = re.sub(r"0x[0-9a-f]+", lambda number: str(int(number[0], 16)), text)
    if text.endswith(" ll"):
        text = re.sub(r"-\d+", lambda number: str(int(number[0]) % (1 << 64)), text[:-3])
    if re.search(r"\*\(|\*\)|xchg", text):  # memory: which half of a register is in the size
        text = re.sub(r"\bw(\d)", r"r\1", text)
    cell = r"\((r\d+) ([+-] \d+)"
    text = re.sub(rf"cmpxchg_64{cell}, ", r"atomic_cmpxchg((u64 *)(\1 \2), ", text)
    text = re.sub(rf"cmpxchg32_32{cell}, ", r"atomic_cmpxchg((u32 *)(\1 \2), ", text)
    text = re.sub(rf"xchg_64{cell}, ", r"atomic_xchg((u64 *)(\1 \2), ", text)
    text = re.sub(rf"xchg32_32{cell}, ", r"atomic_xchg((u32 *)(\1 \2), ", text)
    text = text.replace("atomic64_", "atomic_")
    text = re.sub(r" \(module .*\)$", "", text)
    text = re.sub(r"call .*#", "call ", text).replace("call pc", "call +").replace("+-", "-")
    text = re.sub(r"(skb\[r\d+) [+-]\d+\]", r"\1]", text)  # LLVM does not print the offset
    return re.sub(r"\s+", "", text).replace("++", "+").replace("call+", "call")


def _objdump(run: Run, path: Path) -> list[str]:
    listing = run("llvm-objdump-19", "--mcpu=v4", "-d", "-z", "--no-show-raw-insn", path)
    found = (re.match(r"\s+\d+:\s+(.*)", line) for line in listing.splitlines())
    return [match[1].strip() for match in found if match]


@pytest.mark.parametrize("order", ORDERS)
def test_all_opcodes_agree_with_llvm(run: Run, tmp_path: Path, order: ByteOrder) -> None:
    insns = list(_instructions())
    code = b""
    for insn in insns:
        code += insn.encode(order)
        if insn.op == OP_LD_IMM64:
            code += Insn(0, imm=-2).encode(order)
    source = tmp_path / "all.s"
    source.write_text(
        "".join(
            f".byte {','.join(map(str, code[i : i + SIZE]))}\n" for i in range(0, len(code), SIZE)
        )
    )
    run("clang-19", "-target", TARGETS[order], "-c", source, "-o", tmp_path / "all.o")
    theirs = _objdump(run, tmp_path / "all.o")
    ours = [line.text for line in disassemble(code, order)]
    assert len(ours) == len(theirs) == len(insns)

    known, differences = 0, []
    for insn, text, expected in zip(insns, ours, theirs, strict=True):
        plain, *remarks = text.split(" ; ")
        if any(word in plain for word in _LATER):
            continue
        if expected == "<unknown>":
            # LLVM rejects some of the instructions whose reserved fields are set.
            agree = plain.startswith(".8byte") or bool(remarks)
        elif plain.startswith(".8byte"):
            # LLVM takes any number for an addition, and any JCOND for may_goto.
            agree = remarks[0].startswith(f"opcode {insn.op:#04x} with unknown ") and (
                expected.startswith(("lock ", "may_goto "))
            )
        else:
            agree = _normal(plain) == _normal(expected)
            known += 1
        if not agree:
            differences.append((insn, text, expected))
    assert not differences
    assert known > 1000


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.bpf.o")), ids=lambda path: path.stem)
def test_compiled_programs_agree_with_llvm(run: Run, tmp_path: Path, path: Path) -> None:
    _compare_object(run, tmp_path, path, "little")


_C = """
typedef unsigned int u32; typedef unsigned long long u64;
struct { signed char b; short h; int w; long long d; u32 bits : 5; } m;
u32 lock; u64 lock64;
static __attribute__((noinline)) long deep(WORD a, WORD b) { return b ? a / b + a % b : m.w; }
long run(long a, long b, int c)
{
	m.b += c; m.h ^= a; m.bits = c;
	u64 swapped = __builtin_bswap64(a) + __builtin_bswap16(b) + __builtin_bswap32(c);
	lock64 = __sync_fetch_and_add(&lock64, a) + __sync_lock_test_and_set(&lock64, b);
	lock = __sync_val_compare_and_swap(&lock, c, 7) + __sync_fetch_and_xor(&lock, 3);
	__sync_fetch_and_or(&lock64, 1);
	for (int i = 0; i < c; i++)
		swapped += deep(swapped >> 3, b) * -a;
	return swapped + (m.b < b ? m.h : m.d) + (a > 0x123456789abcdefLL) + (int)a;
}
"""


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("cpu", ["v1", "v2", "v3", "v4"])
def test_small_program_agrees_with_llvm(
    run: Run, tmp_path: Path, order: ByteOrder, cpu: str
) -> None:
    source = tmp_path / "small.c"
    source.write_text(_C if cpu > "v2" else re.sub(r".*__sync_.*\n", "", _C))
    path = tmp_path / "small.o"
    # There is no signed division before v4.
    word = f"-DWORD={'long' if cpu == 'v4' else 'unsigned long'}"
    options = ("-O2", "-target", TARGETS[order], f"-mcpu={cpu}", word)
    run("clang-19", *options, "-c", source, "-o", path)
    _compare_object(run, tmp_path, path, order)


def _compare_object(run: Run, tmp_path: Path, path: Path, order: ByteOrder) -> None:
    code = b""
    headers = run("llvm-objdump-19", "-h", path)
    for name in re.findall(r"^\s*\d+ (\S+) .* TEXT$", headers, re.MULTILINE):
        part = tmp_path / "section"
        run("llvm-objcopy-19", "-O", "binary", f"--only-section={name}", path, part)
        code += part.read_bytes()
    assert code
    ours = [line.text for line in disassemble(code, order)]
    theirs = _objdump(run, path)
    assert [_normal(text) for text in ours] == [_normal(text) for text in theirs]
    assert not [text for text in ours if ";" in text]


@pytest.mark.kernel
def test_loaded_program_agrees_with_bpftool(run: Run, tmp_path: Path, bpffs: Path) -> None:
    run("bpftool", "prog", "loadall", EXAMPLES / "xdpcount.bpf.o", bpffs / "progs")
    (pin,) = (bpffs / "progs").iterdir()
    listing = run("bpftool", "prog", "dump", "xlated", "pinned", pin)
    theirs = re.findall(r"^\s*(\d+): \(..\) (.*)$", listing, re.MULTILINE)
    run("bpftool", "prog", "dump", "xlated", "pinned", pin, "file", tmp_path / "xlated")

    def map_id(pseudo: Pseudo, number: int) -> str:
        return f"map {number} of {pseudo.name}"

    lines = list(disassemble((tmp_path / "xlated").read_bytes(), "little", Names(map=map_id)))
    assert [str(line.index) for line in lines] == [index for index, _ in theirs]
    assert len(lines) > 40
    for line, (_, expected) in zip(lines, theirs, strict=True):
        text = re.sub(r"goto ([+-])", r"goto pc\1", line.text)
        text = re.sub(r"map\[(\d+):.*\]", r"map[id:\1]", text)
        # bpftool 6.1 does not know this move, with which the kernel makes per-CPU addresses.
        assert text.replace("&(void __percpu *)(r0)", "r0") == expected


NAMES = Names(
    map=lambda pseudo, number: {3: "events", 1: ".rodata"}.get(number),
    kfunc=lambda type_id, module: {(77, 0): "bpf_task_acquire", (78, 2): "ct_alloc"}.get(
        (type_id, module)
    ),
    subprogram=lambda index: {22: "handle_one"}.get(index),
    variable=lambda type_id, module: {900: "runqueues"}.get(type_id),
)


def _wide(pseudo: Pseudo, low: int, high: int = 0) -> tuple[Insn, Insn]:
    return Insn(OP_LD_IMM64, 1, pseudo, imm=low), Insn(0, imm=high)


@pytest.mark.parametrize(
    ("slots", "named", "plain"),
    [
        (_wide(Pseudo.IMM64, -2, 1), "r1 = 0x1fffffffe", "r1 = 0x1fffffffe"),
        (_wide(Pseudo.IMM64, 0), "r1 = 0x0", "r1 = 0x0"),
        (_wide(Pseudo.MAP_FD, 3), "r1 = map[3:'events']", "r1 = map[fd:3]"),
        (_wide(Pseudo.MAP_IDX, 3), "r1 = map[3:'events']", "r1 = map[idx:3]"),
        (_wide(Pseudo.MAP_IDX, 4), "r1 = map[idx:4]", "r1 = map[idx:4]"),
        (_wide(Pseudo.MAP_VALUE, 1, 16), "r1 = map[1:'.rodata'] +16", "r1 = map[fd:1] +16"),
        (_wide(Pseudo.MAP_IDX_VALUE, 1), "r1 = map[1:'.rodata'] +0", "r1 = map[idx:1] +0"),
        (_wide(Pseudo.BTF_ID, 900), "r1 = btf[900:'runqueues']", "r1 = btf[900]"),
        (
            _wide(Pseudo.BTF_ID, 900, 5),
            "r1 = btf[900:'runqueues'] (module fd 5)",
            "r1 = btf[900] (module fd 5)",
        ),
        (_wide(Pseudo.FUNC, 11), "r1 = subprog[+11:'handle_one']", "r1 = subprog[+11]"),
        (
            (Insn(OP_CALL, src=CallKind.SUBPROGRAM, imm=11),),
            "call handle_one (pc+11)",
            "call pc+11",
        ),
        ((Insn(OP_CALL, src=CallKind.SUBPROGRAM, imm=-11),), "call pc-11", "call pc-11"),
        (
            (Insn(OP_CALL, src=CallKind.KFUNC, imm=77),),
            "call bpf_task_acquire#77",
            "call kfunc#77",
        ),
        (
            (Insn(OP_CALL, src=CallKind.KFUNC, off=2, imm=78),),
            "call ct_alloc#78 (module 2)",
            "call kfunc#78 (module 2)",
        ),
        ((Insn(OP_CALL, imm=1),), "call bpf_map_lookup_elem#1", "call bpf_map_lookup_elem#1"),
        ((Insn(OP_CALL, imm=99999),), "call unknown#99999", "call unknown#99999"),
        ((Insn(OP_CALL, imm=-1),), "call unknown#-1", "call unknown#-1"),
    ],
)
def test_names(slots: tuple[Insn, ...], named: str, plain: str) -> None:
    second = slots[1] if len(slots) > 1 else None
    assert format_insn(slots[0], second, NAMES, 10) == named
    assert format_insn(slots[0], second) == plain


@pytest.mark.parametrize(
    ("insn", "second", "text"),
    [
        (Insn(0xFF), None, ".8byte 0x00000000000000ff ; unknown opcode 0xff"),
        (
            Insn(0x27 | 0x08 | 0x10, 1, 2, 7),
            None,
            ".8byte 0x000000000007213f ; opcode 0x3f with unknown off 0x7",
        ),
        (
            Insn(OP_CALL, src=9),
            None,
            ".8byte 0x0000000000009085 ; opcode 0x85 with unknown src 0x9",
        ),
        (
            Insn(OP_LD_IMM64, 1, imm=7),
            None,
            ".8byte 0x0000000700000118 ; ld_imm64 without its second slot",
        ),
        (
            Insn(OP_LD_IMM64, 1, imm=7),
            Insn(0, 3),
            "r1 = 0x7 ; reserved fields of the second slot are not 0",
        ),
        (
            Insn(OP_LD_IMM64, 1, Pseudo.MAP_FD, imm=7),
            Insn(0, imm=3),
            "r1 = map[fd:7] ; reserved wide is 0x3",
        ),
        (Insn(0x95, 0, 0, 3, -1), None, "exit ; reserved off is 0x3 ; reserved imm is -0x1"),
        (Insn(0xBF, 12, 15), None, "r12 = r15 ; no r12 ; no r15"),
        (
            Insn(OP_CALL, imm=0xBAD2310),
            None,
            "call unknown#195896080 ; poison: a CO-RE relocation failed",
        ),
        (
            Insn(OP_CALL, imm=2002000007),
            None,
            "call unknown#2002000007 ; poison: the kfunc was not found",
        ),
    ],
)
def test_what_is_odd_is_said(insn: Insn, second: Insn | None, text: str) -> None:
    assert format_insn(insn, second) == text


# As Linux 6.19 prints them (kernel/bpf/disasm.c).
@pytest.mark.parametrize(
    ("insn", "text"),
    [
        (Insn(0xDB, 1, 2, 8, 0x100), "r1 = load_acquire((u64 *)(r2 +8))"),
        (Insn(0xD3, 1, 2, -8, 0x100), "r1 = load_acquire((u8 *)(r2 -8))"),
        (Insn(0xCB, 1, 2, 8, 0x110), "store_release((u16 *)(r1 +8), r2)"),
        (Insn(0xC3, 1, 2, 0, 0x110), "store_release((u32 *)(r1 +0), r2)"),
        (Insn(0x0D, 3), "gotox r3"),
    ],
)
def test_newer_than_llvm_19(insn: Insn, text: str) -> None:
    assert format_insn(insn) == text


def test_data_reads_in_the_order_of_the_target() -> None:
    for order in ORDERS:
        (line,) = disassemble(Insn(0xFF, 1, 2, 3, 4).encode(order), order)
        assert line.text.startswith(f".8byte {int.from_bytes(line.raw, order):#018x} ;")


@pytest.mark.parametrize("order", ORDERS)
def test_cut_code(order: ByteOrder) -> None:
    wide, exit_ = Insn(OP_LD_IMM64, 1).encode(order), Insn(0x95).encode(order)
    # A slot with an opcode of its own is no second slot.
    lines = list(disassemble(wide + exit_ + wide + b"\x01\x02\x03", order))
    assert [line.index for line in lines] == [0, 1, 2, 3]
    assert [len(line.raw) for line in lines] == [8, 8, 8, 3]
    assert lines[1].text == "exit"
    assert lines[0].text.endswith("without its second slot")
    assert lines[2].text.endswith("without its second slot")
    assert lines[3].text == ".byte 0x01, 0x02, 0x03 ; 3 bytes are not a whole instruction"


def test_line_prints_index_and_bytes() -> None:
    wide, last = disassemble(
        Insn(OP_LD_IMM64, 1, imm=1).encode("little") + bytes(8) + Insn(0x95).encode("little"),
        "little",
    )
    assert str(wide) == "   0: 18 01 00 00 01 00 00 00 00 00 00 00 00 00 00 00 r1 = 0x1"
    assert str(last) == "   2: 95 00 00 00 00 00 00 00 exit"


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from(ORDERS))
def test_any_bytes(code: bytes, order: ByteOrder) -> None:
    lines = list(disassemble(code, order, NAMES))
    assert b"".join(line.raw for line in lines) == code
    assert all(line.text.isprintable() and line.text for line in lines)


_REGISTER = st.integers(0, 15)
_INSNS = st.builds(
    Insn,
    st.sampled_from((OP_CALL, OP_LD_IMM64, 0xC3, 0xDB, 0xBF)) | st.integers(0, 255),
    _REGISTER,
    _REGISTER,
    st.sampled_from((0, 1, 8)) | st.integers(-(1 << 15), (1 << 15) - 1),
    st.sampled_from((0, 1, 16)) | st.integers(-(1 << 31), (1 << 31) - 1),
)


@settings(deadline=None)
@given(st.lists(_INSNS, max_size=20))
def test_byte_order_changes_only_data(insns: list[Insn]) -> None:
    little, big = (
        [line.text for line in disassemble(b"".join(i.encode(order) for i in insns), order)]
        for order in ORDERS
    )
    assert [text for text in little if ".8byte" not in text] == [
        text for text in big if ".8byte" not in text
    ]
