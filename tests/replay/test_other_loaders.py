"""What other loaders take: cilium/ebpf's static programs, iproute2's tail calls and pins."""

from __future__ import annotations

from pathlib import Path

import pytest

import lskel
from lskel.bpf.enums import ProgType
from lskel.cli import main
from lskel.errors import BadObject, NotSupported
from lskel.object.model import Object, Pinning
from tests.build.clang import compile_bpf
from tests.loads import Load, both

STATIC = """
#define RETURNS(n) static int value##n(struct __sk_buff *skb) { return n; }
SEC("socket/one") RETURNS(11)
SEC("socket/two") RETURNS(22)
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 3);
	__type(key, int);
	__array(values, int (void *));
} progs SEC(".maps") = { .values = { [2] = (void *)&value22, [0] = (void *)&value11 } };
SEC("socket") int entry(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &progs, 2);
	return 1;
}
"""
# Of iproute2's bpf_elf.h.
ELF_MAP = """
struct bpf_elf_map { __u32 type, size_key, size_value, max_elem, flags, id, pinning, inner_id,
                     inner_idx; };
#define PROGS(map_id, pin) { .type = BPF_MAP_TYPE_PROG_ARRAY, .size_key = 4, .size_value = 4, \\
                             .max_elem = 16, .id = map_id, .pinning = pin }
"""
IPROUTE = """
struct bpf_elf_map first SEC("maps") = PROGS(7, 1), second SEC("maps") = PROGS(0x20, 2);
SEC("7/2") int two(struct __sk_buff *skb) { bpf_tail_call(skb, &second, 10); return 2; }
SEC("7/010") int eight(struct __sk_buff *skb) { return 8; }
SEC("0x20/0xa") int ten(struct __sk_buff *skb) { return 10; }
SEC("classifier") int entry(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &first, skb->mark == 1 ? 8 : 2);
	return 1;
}
"""


def slots(obj: Object, name: str) -> dict[int, str]:
    return {slot.key: slot.name for slot in obj.map(name).slots}


def types(obj: Object) -> set[ProgType]:
    return {program.spec.prog_type for program in obj.programs}


def test_static_programs() -> None:
    """Each in a section of its own; clang names the section, not the function."""
    obj = lskel.open_object(compile_bpf(STATIC))
    assert [program.name for program in obj.programs] == ["value11", "value22", "entry"]
    assert slots(obj, "progs") == {0: "value11", 2: "value22"}
    assert types(obj) == {ProgType.SOCKET_FILTER}


def test_big_endian_static_programs() -> None:
    obj = lskel.open_object(compile_bpf(STATIC, big_endian=True))
    assert slots(obj, "progs") == {0: "value11", 2: "value22"}


@pytest.mark.kernel
@both
def test_static_programs_run(load: Load) -> None:
    with load(lskel.generate(lskel.open_object(compile_bpf(STATIC)))) as bpf:
        assert bpf.progs.entry.run(data=bytes(64)).value == 22


def test_sections_of_tail_calls() -> None:
    obj = lskel.open_object(compile_bpf(ELF_MAP + IPROUTE))
    assert slots(obj, "first") == {2: "two", 8: "eight"}
    assert slots(obj, "second") == {10: "ten"}
    assert types(obj) == {ProgType.SCHED_CLS}
    assert (obj.map("first").pinning, obj.map("second").pinning) == (Pinning.NONE, Pinning.BY_NAME)
    own, shared = obj.remarks
    assert own == (
        "map 'first': pinning 1 (PIN_OBJECT_NS) of iproute2 is not done: it is not pinned"
    )
    assert shared.startswith("map 'second': pinning 2 (PIN_GLOBAL_NS) is a pin of its name in the")


@pytest.mark.kernel
@both
def test_sections_of_tail_calls_run(load: Load) -> None:
    source = ELF_MAP + IPROUTE.replace("PROGS(0x20, 2)", "PROGS(0x20, 0)")
    with load(lskel.generate(lskel.open_object(compile_bpf(source)))) as bpf:
        assert bpf.progs.entry.run(data=bytes(64)).value == 10


def test_remarks_are_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "tails.bpf.o"
    path.write_bytes(compile_bpf(ELF_MAP + IPROUTE))
    assert main(["trace", str(path)]) == 0
    said = f"lskel: warning: {path}: map 'first': pinning 1 (PIN_OBJECT_NS) of iproute2"
    assert said in capsys.readouterr().err
    with pytest.warns(UserWarning, match="^tails: map 'first': pinning 1") as warnings:
        lskel.load(path).close()
    assert {warning.filename for warning in warnings} == {__file__}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("8/1", "section 8/1: no prog array has id 8"),
        ("7/4294967296", "section 7/4294967296: key 4294967296 does not fit 32 bits"),
    ],
)
def test_wrong_tail_calls(section: str, message: str) -> None:
    with pytest.raises(BadObject, match=message):
        lskel.open_object(compile_bpf((ELF_MAP + IPROUTE).replace("7/2", section)))


CHAIN = """
struct bpf_elf_map a SEC("maps") = PROGS(1, 0), b SEC("maps") = PROGS(2, 0);
SEC("2/0") int last(struct __sk_buff *skb) { return 8; }
SEC("1/0") int middle(struct __sk_buff *skb) { bpf_tail_call(skb, &b, 0); return 2; }
SEC("xdp.frags") int entry(struct xdp_md *xdp) { bpf_tail_call(xdp, &a, 0); return 1; }
SEC("tc") int other(struct __sk_buff *skb) { return 0; }
"""


def test_types_follow_the_calls() -> None:
    """Through arrays of arrays' users, with the flags that the kernel compares."""
    obj = lskel.open_object(compile_bpf(ELF_MAP + CHAIN))
    for name in ("middle", "last"):
        spec = obj.program(name).spec
        assert (spec.prog_type, spec.xdp_frags) == (ProgType.XDP, True)


def test_types_that_disagree() -> None:
    """Nothing is guessed."""
    source = CHAIN.replace("return 0;", "bpf_tail_call(skb, &a, 0); return 0;")
    obj = lskel.open_object(compile_bpf(ELF_MAP + source))
    assert obj.program("middle").spec.prog_type == ProgType.UNSPEC
    with pytest.raises(NotSupported, match=r"2 programs have .* 'last' \(2/0\), 'middle' \(1/0\)"):
        obj.trace()


def test_two_static_programs_of_one_name() -> None:
    """So they may be after linking."""
    source = """
    __asm__(".section tc,\\"ax\\",@progbits\\n"
            ".type twin,@function\\ntwin: exit\\n.size twin,.-twin\\n");
    SEC("xdp") int twix(void *ctx) { return 0; }
    """
    code = compile_bpf(source).replace(b"\0twix\0", b"\0twin\0")
    with pytest.raises(BadObject, match="sections tc and xdp: two programs 'twin'"):
        lskel.open_object(code)


def test_assembly_without_a_size() -> None:
    source = """
    __asm__(".section socket,\\"ax\\",@progbits\\n.globl bare\\n.type bare,@function\\nbare: exit");
    """
    says = "section socket: function 'bare': its symbol has no size.*`.size bare, . - bare`"
    with pytest.raises(BadObject, match=says):
        lskel.open_object(compile_bpf(source))
