"""Which programs of struct_ops are loaded, and for which member."""

from __future__ import annotations

import pytest

import lskel
from lskel.bpf.struct_ops import StructOps
from lskel.errors import BadObject, NotFound
from lskel.trace import BtfFind, Input, MemberIndex, Trace
from tests.build.clang import compile_bpf

HEAD = """
struct ops { int (*one)(void *); int (*two)(void *); };
struct ops___old { int (*two)(void *); };
struct others { int (*one)(void *); };
SEC("struct_ops/f") int f(void *c) { return 0; }
SEC("?struct_ops/g") int g(void *c) { return 1; }
SEC("xdp") int x(struct xdp_md *c) { return XDP_PASS; }
"""


def object_of(source: str) -> lskel.Object:
    return lskel.open_object(compile_bpf(HEAD + source))


def loaded(trace: Trace) -> dict[str, tuple[str, str]]:
    """The struct and the member of the programs that are loaded for struct_ops."""
    found = {}
    for slot, program in enumerate(trace.programs):
        op = trace.prog_load(slot)
        if program.autoload and op is not None and isinstance(op.expected_attach_type, Input):
            index = trace.inputs[op.expected_attach_type.number]
            assert isinstance(index, MemberIndex) and op.attach_btf is not None
            find = trace.ops[op.attach_btf.op]
            assert isinstance(find, BtfFind) and find.name == index.type
            found[program.name] = (index.type, index.member)
    return found


def test_those_that_created_maps_use() -> None:
    obj = object_of("""
        SEC(".struct_ops") struct ops first = { .one = f };
        SEC("?.struct_ops") struct ops___old second = { .two = g };
        SEC("?.struct_ops") struct others third = { .one = f };
    """)
    assert loaded(obj.trace()) == {"f": ("ops", "one")}
    obj = obj.with_map("second", autocreate=True)
    assert loaded(obj.trace()) == {"f": ("ops", "one"), "g": ("ops", "two")}
    obj = obj.with_map("first", autocreate=False)
    assert loaded(obj.trace()) == {"g": ("ops", "two")}
    obj = obj.with_map("third", autocreate=True)
    assert loaded(obj.trace()) == {"f": ("others", "one"), "g": ("ops", "two")}


@pytest.mark.parametrize(
    ("second", "says"),
    [
        ("struct ops second = { .two = f }", "'f' is already used for member 'one' of struct ops"),
        (
            "struct others second = { .one = f }",
            "'f' is already used for member 'one' of struct ops",
        ),
    ],
)
def test_one_program_for_two_members(second: str, says: str) -> None:
    obj = object_of(f"""SEC(".struct_ops") struct ops first = {{ .one = f }};
                        SEC("?.struct_ops.link") {second};""")
    assert loaded(obj.trace()) == {"f": ("ops", "one")}
    with pytest.raises(BadObject, match=rf"\.link: map 'second': member '\w+': program {says}"):
        obj.with_map("second", autocreate=True).trace()


def test_program_of_the_user() -> None:
    obj = object_of('SEC(".struct_ops") struct ops first = { .one = f };')

    def with_program(name: str) -> lskel.Object:
        ops = obj.map("first").struct_ops
        assert isinstance(ops, StructOps)
        return obj.with_map("first", struct_ops=ops.with_program("two", name))

    assert loaded(with_program("g").trace()) == {"f": ("ops", "one"), "g": ("ops", "two")}
    with pytest.raises(NotFound, match="map 'first': member 'two': no program 'nope'"):
        with_program("nope").trace()
    with pytest.raises(BadObject, match="member 'two': program 'x' is not a struct_ops program"):
        with_program("x").trace()


def test_programs_that_no_map_uses() -> None:
    """As libbpf, which refuses to load it; it is all right where it is not loaded."""
    source = 'SEC("?.struct_ops") struct ops spare = { .two = g };'
    with pytest.raises(
        BadObject, match=r"^program 'f': no struct_ops map uses it .*--no-autoload f"
    ):
        object_of(source).trace()
    obj = object_of(source).with_program("f", autoload=False)
    assert loaded(obj.trace()) == {}
    with pytest.raises(BadObject, match="'g': no struct_ops map uses it"):
        object_of('SEC(".struct_ops") struct ops usual = { .one = f };').with_program(
            "g", autoload=True
        ).trace()
