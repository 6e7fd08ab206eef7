"""Instructions of each class, refused ones, and BTF that lies. Values: test_libbpf.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lskel import budget
from lskel.bpf import insn as i
from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.btf.types import TypeId
from lskel.core_relo.access import Access
from lskel.core_relo.candidates import KernelTypes
from lskel.core_relo.minimal import MinimalBtf
from lskel.core_relo.patch import POISON
from lskel.core_relo.records import CoreKind, CoreQuestion, CoreRelocation
from lskel.core_relo.relocate import CoreAnswer, CoreRelocator, CoreResult
from lskel.cursor import ByteOrder
from lskel.errors import LimitExceeded
from tests.btf.samples import ORDERS
from tests.build.btf import BtfBuilder

LOAD_W, STORE_W, STORE_IMM_W = i.LDX | i.MEM | i.W, i.STX | i.MEM | i.W, i.ST | i.MEM | i.W
MOV_IMM = i.ALU64 | i.MOV | i.K


def task(pid: int, *, size: int = 4, signed: bool = False, name: str = "task") -> BtfBuilder:
    """`struct task` with member `pid` at byte `pid`; type 2."""
    b = BtfBuilder()
    number = b.add_int("int" if signed else "u", size, encoding=int(signed))
    b.add_struct(name, pid + 8, [("pid", number, pid * 8)])
    return b


def relocate(
    local: BtfBuilder,
    kernel: BtfBuilder,
    insns: list[i.Insn],
    kind: CoreKind = CoreKind.BYTE_OFF,
    access: str = "0:0",
    order: ByteOrder = "little",
    modules: tuple[Btf, ...] = (),
    insn: int = 0,
) -> tuple[list[i.Insn], CoreAnswer]:
    types = KernelTypes(Btf(kernel.bytes(order)), modules)
    relocator = CoreRelocator(Btf(local.bytes(order)), types)
    code = b"".join(one.encode(order) for one in insns)
    relocation = CoreRelocation(insn, CoreQuestion(kind, TypeId(2), access))
    patched, (outcome,) = relocator.relocate(code, order, [relocation])
    assert outcome.relocation == relocation
    return [i.read(patched, at, order) for at in range(i.count(patched))], outcome.answer


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "insn",
    [
        i.Insn(LOAD_W, 1, 2, off=4),
        i.Insn(STORE_W, 1, 2, off=4),
        i.Insn(STORE_IMM_W, 1, off=4, imm=7),
        i.Insn(MOV_IMM, 1, imm=4),
        i.Insn(i.ALU | i.ADD | i.K, 1, imm=4),
    ],
)
def test_each_class_of_instructions(insn: i.Insn, order: ByteOrder) -> None:
    (patched,), answer = relocate(task(4), task(24), [insn], order=order)
    assert answer.result is CoreResult.RESOLVED
    field = "imm" if insn.op & 0x07 in (i.ALU, i.ALU64) else "off"
    assert patched == insn._replace(**{field: 24})


@pytest.mark.parametrize("order", ORDERS)
def test_wide_immediates(order: ByteOrder) -> None:
    local, kernel = BtfBuilder(), BtfBuilder()
    for b, value in (local, 1 << 33), (kernel, 0x1234567890ABCDEF):
        b.add_int("u", 4)
        b.add_enum64("flags", [("ALL", value)])
    wide = [i.Insn(i.OP_LD_IMM64, 1, imm=0), i.Insn(0, imm=2)]
    patched, answer = relocate(local, kernel, wide, CoreKind.ENUMVAL_VALUE, "0", order)
    assert answer.result is CoreResult.RESOLVED
    high, low = patched[1].imm, patched[0].imm & 0xFFFFFFFF
    assert high << 32 | low == 0x1234567890ABCDEF


def test_what_is_missing_is_poisoned() -> None:
    load = i.Insn(LOAD_W, 1, 2, off=4)
    for kernel, result in (
        (task(4, name="other"), CoreResult.NO_TYPE),
        (task(4, name="task___old"), CoreResult.RESOLVED),
    ):
        (patched,), answer = relocate(task(4), kernel, [load])
        assert answer.result is result
        assert patched == (POISON if result is CoreResult.NO_TYPE else load)
    without = BtfBuilder()
    without.add_int("u", 4)
    without.add_struct("task", 8, [("tgid", TypeId(1), 0)])
    wide = [i.Insn(i.OP_LD_IMM64, 1, imm=4), i.Insn(0)]
    both, answer = relocate(task(4), without, wide)
    assert answer.result is CoreResult.NO_MATCH
    assert both == [POISON, POISON]
    exists, answer = relocate(task(4), without, [i.Insn(MOV_IMM, 1, imm=1)], CoreKind.FIELD_EXISTS)
    assert answer.result is CoreResult.RESOLVED
    assert exists == [i.Insn(MOV_IMM, 1, imm=0)]


def test_fields_of_another_size() -> None:
    load = i.Insn(LOAD_W, 1, 2, off=4)
    (patched,), answer = relocate(task(4), task(8, size=8), [load])
    assert answer.result is CoreResult.RESOLVED
    assert patched == load._replace(op=i.LDX | i.MEM | i.DW, off=8)
    (patched,), answer = relocate(task(4, signed=True), task(8, size=8, signed=True), [load])
    assert answer.result is CoreResult.WRONG_SIZE
    assert patched == POISON


def test_modules_are_searched_after_vmlinux() -> None:
    load = i.Insn(LOAD_W, 1, 2, off=4)
    base = task(4, name="other")
    vmlinux = Btf(base.bytes("little"))
    split = BtfBuilder(base=base)
    split.add_struct("task", 64, [("pid", TypeId(1), 40 * 8)])
    module = Btf(split.bytes("little"), vmlinux)
    (patched,), answer = relocate(task(4), base, [load], modules=(module,))
    assert answer.result is CoreResult.RESOLVED
    assert patched.off == 40
    assert [target.btf for target in answer.targets] == [module]


@pytest.mark.parametrize(
    ("insns", "kind", "access", "reason"),
    [
        ([i.Insn(LOAD_W, 1, 2, off=6)], CoreKind.BYTE_OFF, "0:0", "the instruction has 6, its"),
        ([i.Insn(i.OP_EXIT)], CoreKind.BYTE_OFF, "0:0", "opcode 0x95 has no place"),
        ([i.Insn(i.OP_LD_IMM64, 1, imm=4)], CoreKind.BYTE_OFF, "0:0", "opcode 0x18 has no place"),
        ([i.Insn(LOAD_W, 1, 2, off=4)], CoreKind.BYTE_OFF, "0:1", "has no member 1"),
        ([i.Insn(LOAD_W, 1, 2, off=4)], CoreKind.BYTE_OFF, "0:0:0", "has no members or elements"),
        ([i.Insn(LOAD_W, 1, 2, off=4)], CoreKind.BYTE_OFF, "0:-1", "is not a list of indexes"),
        ([i.Insn(LOAD_W, 1, 2, off=4)], CoreKind.TYPE_SIZE, "0:0", "expected '0'"),
        ([i.Insn(MOV_IMM, 1, imm=1)], CoreKind.ENUMVAL_VALUE, "0", "expected ENUM"),
        ([i.Insn(LOAD_W, 1, 2, off=0)], CoreKind.SIGNED, "0", "only the offset and size"),
    ],
)
def test_invalid_relocations(insns: list[i.Insn], kind: CoreKind, access: str, reason: str) -> None:
    patched, answer = relocate(task(4), task(24), insns, kind, access)
    assert answer.result is CoreResult.INVALID
    assert reason in answer.reason
    assert patched == insns


def test_an_instruction_that_is_not_there() -> None:
    for kernel in task(24), task(24, name="other"):
        _patched, answer = relocate(task(4), kernel, [i.Insn(LOAD_W, off=4)], insn=1)
        assert answer.result is CoreResult.INVALID
        assert answer.reason == "instruction 1 does not exist"


def test_ambiguous_types() -> None:
    kernel = task(8)
    kernel.add_struct("task___2", 64, [("pid", TypeId(1), 16 * 8)])
    load = i.Insn(LOAD_W, 1, 2, off=4)
    insns, answer = relocate(task(4), kernel, [load])
    assert answer.result is CoreResult.AMBIGUOUS
    assert (answer.reason, insns) == ("8 and 16", [load])


def nest(depth: int) -> BtfBuilder:
    """`struct task` that has anonymous structs, one in another, each with two of the next."""
    b = BtfBuilder()
    number = b.add_int("u", 4)
    ids = [TypeId(3 + at) for at in range(depth)]
    b.add_struct("task", 8, [("", ids[0], 0), ("", ids[0], 0)])
    for at in ids[1:]:
        b.add_struct("", 8, [("", at, 0), ("", at, 0)])
    b.add_struct("", 8, [("other", number, 0)])
    return b


def test_nested_anonymous_structs_end() -> None:
    """2**60 ways to a member that is not there: an answer, and not after days."""
    _patched, answer = relocate(task(4), nest(60), [i.Insn(LOAD_W, 1, 2, off=4)])
    assert answer.result is CoreResult.NO_MATCH
    _patched, answer = relocate(task(4), nest(70), [i.Insn(LOAD_W, 1, 2, off=4)])
    assert answer.result is CoreResult.INVALID
    assert "more than 64 steps" in answer.reason


@given(
    raw=st.binary(max_size=8),
    at=st.integers(min_value=24),
    kind=st.sampled_from(CoreKind),
    access=st.sampled_from(["0", "0:0", "1:0", "0:0:5", ""]),
)
def test_damaged_kernel_btf(raw: bytes, at: int, kind: CoreKind, access: str) -> None:
    """A result or BadObject, nothing else."""
    data = bytearray(task(4).bytes("little"))
    at %= len(data)
    data[at : at + len(raw)] = raw
    try:
        btf = Btf(bytes(data))
    except ValueError:
        return
    question = CoreQuestion(kind, TypeId(2), access)
    answer = CoreRelocator(Btf(task(4).bytes("little")), KernelTypes(btf)).answer(question)
    assert isinstance(answer.result, CoreResult)


def test_more_candidates_than_any_kernel_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "CORE_WORK", 1000)
    kernel = BtfBuilder()
    for _ in range(200):
        kernel.add_struct("task", 4)
    relocator = CoreRelocator(task(0).btf(), KernelTypes(kernel.btf()))
    with pytest.raises(LimitExceeded, match="types and members for CO-RE"):
        relocator.answer(CoreQuestion(CoreKind.BYTE_OFF, TypeId(2), "0:0"))


def test_members_of_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the object's is like the last of the kernel's."""
    monkeypatch.setattr(budget, "CORE_WORK", 1000)
    local, kernel = BtfBuilder(), BtfBuilder()
    number, other = local.add_int("int", 4), kernel.add_int("int", 8)
    local.add_struct("task", 400, [("", number, 0)] * 100)
    kernel.add_int("int", 4)
    kernel.add_struct("task", 808, [("", other, 0)] * 100 + [("", TypeId(2), 0)])
    with pytest.raises(LimitExceeded, match="types and members for CO-RE"):
        relocate(local, kernel, [i.Insn(MOV_IMM, 1, imm=1)], CoreKind.TYPE_MATCHES, "0")


def test_minimal_btf_of_functions_that_share_parameters() -> None:
    """Each takes the one before twice: followed one by one, they would never end."""
    b = BtfBuilder()
    function = b.add_func_proto(0)
    for _ in range(24):
        function = b.add_func_proto(0, [("a", function), ("b", function)])
    root = b.add_typedef("callback", b.add_ptr(function))
    made = MinimalBtf("little")
    made.add(CoreKind.TYPE_MATCHES, [Access(b.btf(), root)])
    found = Btf(made.raw())
    assert (len(found), found.find("callback", t.Typedef)) == (28, root)
