"""The kernel's BTF, which headers read by themselves: the same types as the reader in Python."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import lskel
from lskel.btf import types as t
from tests.btf.samples import everything, newer
from tests.build.btf import LAYOUT, BtfBuilder
from tests.build.clang import compile_bpf
from tests.skeleton.c.headers import HEADER, build, light, run

WITH_TYPES = """
struct ops { int (*f)(void); };
SEC("struct_ops") int f(void *ctx) { return 0; }
SEC(".struct_ops") struct ops table = { .f = (void *)f };
"""
# Prints the types of a file, or its errno; a second one is that of a module.
PROGRAM = f"""
#include "{HEADER}"

int main(int argc, char **argv)
{{
    struct lskel_btf base, module, *last = &base;
    int err = lskel_btf_open(&base, argv[1], NULL);

    if (!err && argc > 2) {{
        err = lskel_btf_open(&module, argv[2], &base);
        last = &module;
    }}
    if (err) {{
        printf("errno %d", -err);
    }} else {{
        for (__u32 id = 1; id < last->end_id; id++)
            printf("%u %s\\n", lskel_btf_kind(lskel_btf_type(last, id)),
                   lskel_btf_string(last, lskel_btf_type(last, id)->name));
        if (last == &module)
            lskel_btf_close(&module);
        lskel_btf_close(&base);
    }}
    return 0;
}}
"""


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    opened = lskel.open_object(compile_bpf(WITH_TYPES), name="prog")
    header = light(opened, "prog", standalone=True)
    return build(tmp_path_factory.mktemp("reader"), header, PROGRAM, "-fsanitize=address,undefined")


def read_by(reader: Path, directory: Path, *files: bytes) -> str:
    paths = [directory / str(number) for number in range(len(files))]
    for path, data in zip(paths, files, strict=True):
        path.write_bytes(data)
    done = run(reader, *paths)
    assert (done.status, done.err) == (0, "")
    return done.out


def listed(*builders: BtfBuilder) -> str:
    said = ""
    for builder in builders:
        for _, found in builder.btf(sys.byteorder):
            kind = found.number if isinstance(found, t.UnknownType) else found.kind
            said += f"{kind} {found.name}\n"
    return said


def test_newer_kinds_are_skipped(reader: Path, tmp_path: Path) -> None:
    for built in (everything(), newer()):
        assert read_by(reader, tmp_path, built.bytes(sys.byteorder)) == listed(built)
    base = newer()
    module = BtfBuilder(base)
    module.add(21, "of the module", vlen=1, words=range(6))
    module.add_int("last", 4)
    files = (base.bytes(sys.byteorder), module.bytes(sys.byteorder))
    assert read_by(reader, tmp_path, *files) == listed(base, module)


def test_wrong_layouts(reader: Path, tmp_path: Path) -> None:
    built = newer()
    built.layout = LAYOUT
    headers: list[dict[str, int]] = [{}, {"layout_len": 0}, {"layout_len": 1 << 30}]
    for header in headers:
        assert read_by(reader, tmp_path, built.bytes(sys.byteorder, header=header)) == "errno 22"
