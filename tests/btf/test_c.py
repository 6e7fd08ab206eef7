"""Names of types in messages."""

from __future__ import annotations

from lskel.btf.c import type_name
from lskel.btf.types import IntEncoding, TypeId
from tests.build.btf import BtfBuilder


def test_type_names() -> None:
    b = BtfBuilder()
    int_ = b.add_int("int", 4, IntEncoding.SIGNED)
    char = b.add_int("char", 1)
    foo = b.add_struct("foo", 4, [("x", int_, 0)])
    proto = b.add_func_proto(int_, [("", b.add_ptr(0)), ("", int_)])
    variadic = b.add_func_proto(0, [("format", b.add_ptr(b.add_const(char))), ("", 0)])
    nothing = b.add_func_proto(int_, [("", 0)])
    pointer = b.add_ptr(int_)
    grid = b.add_array(b.add_array(int_, 3), 2)
    names = {
        0: "void",
        int_: "int",
        b.add_ptr(b.add_const(foo)): "const struct foo *",
        b.add_const(b.add_ptr(b.add_volatile(foo))): "volatile struct foo *const",
        b.add_restrict(pointer): "int *restrict",
        b.add_ptr(b.add_ptr(pointer)): "int ***",
        b.add_array(char, 16): "char[16]",
        grid: "int[2][3]",
        b.add_ptr(grid): "int (*)[2][3]",
        b.add_array(pointer, 4): "int *[4]",
        b.add_const(b.add_array(b.add_const(int_), 4)): "const int[4]",
        proto: "int (void *, int)",
        b.add_ptr(proto): "int (*)(void *, int)",
        b.add_array(b.add_ptr(proto), 2): "int (*[2])(void *, int)",
        b.add_ptr(variadic): "void (*)(const char *format, ...)",
        b.add_ptr(b.add_func_proto(b.add_ptr(nothing))): "int (*(*)(void))(void)",
        b.add_func("run", proto): "int (void *, int)",
        b.add_var("run", foo): "struct foo",
        b.add_typedef("foo_t", foo): "foo_t",
        b.add_fwd("bar"): "struct bar",
        b.add_fwd("bar", union=True): "union bar",
        b.add_struct("", 0): "struct {...}",
        b.add_ptr(b.add_enum("", [("A", 1)])): "enum {...} *",
        b.add_ptr(b.add_type_tag("user", foo)): "struct foo *",
        b.add_enum64("big", []): "enum big",
        b.add_float("double", 8): "double",
        b.add_datasec(".bss", 0): "datasec .bss",
        b.add_decl_tag("kptr", foo): "decl_tag kptr",
        b.add_int("", 4): "<[48]: BTF: INT [48] has no name>",
        b.add_ptr(999): "<[49]: BTF: no type [999], the last is [49]>",
    }
    btf = b.btf()
    assert {type_id: type_name(btf, TypeId(type_id)) for type_id in names} == names
