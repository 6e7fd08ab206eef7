"""Headers compile in C and C++ without a warning, and have the layout of bpftool's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest

import lskel
from lskel.loader.header import parse_header
from lskel.skeleton.c import generate_c
from tests import corpus
from tests.build.clang import compile_bpf
from tests.cli.in_process import lskel as command
from tests.selftests.reference import generated_by_bpftool
from tests.selftests.test_generate import UNLOADABLE
from tests.selftests.types import typed
from tests.skeleton.c.headers import STRICT, build, by_bpftool, light, members, problems, run

BATCH = 20


def batches(items: list[Path]) -> Iterator[list[Path]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def own_name(path: Path) -> str:
    """A name that no other object's header has: bpftool's are cut."""
    return re.sub(r"\W", "_", path.stem)


@cache
def headers(*, standalone: bool) -> dict[Path, str]:
    """lskel's header for each object that can be loaded."""
    return {
        path: light(typed(path), own_name(path), standalone=standalone)
        for path in corpus.objects()
        if path.stem not in UNLOADABLE
    }


@pytest.mark.corpus
@pytest.mark.usefixtures("corpus_tools")
@pytest.mark.parametrize("standalone", [False, True], ids=["plain", "standalone"])
@pytest.mark.parametrize("language", ["c", "c++"])
def test_every_object(language: str, standalone: bool) -> None:
    """Those that bpftool makes a header for and those that it refuses; many in one program."""
    made = headers(standalone=standalone)
    assert made.keys() >= generated_by_bpftool().keys()
    assert len(made) > 470

    def said(paths: list[Path]) -> str:
        text = "\n".join(made[path] for path in paths)
        return problems(text, language, *STRICT)

    with ThreadPoolExecutor(2) as pool:
        for paths, found in zip(
            batches(list(made)), pool.map(said, batches(list(made))), strict=True
        ):
            assert not found, f"{[path.stem for path in paths]}: {found[:2000]}"


@pytest.mark.corpus
@pytest.mark.usefixtures("corpus_tools")
def test_layout_is_that_of_bpftools() -> None:
    """Both structs in one program, which compares every member's place.

    What comes after the inputs, of objects that have some, is shifted by them.
    """
    by_bpftool = generated_by_bpftool()

    def comparison(path: Path) -> tuple[str, int]:
        theirs, name = by_bpftool[path], corpus.object_name(path)
        found = members(theirs)
        own = f"lskel_{name}"
        paths = [f"maps.{m}.{field}" for m in found.maps for field in ("map_fd", "initial_value")]
        paths += [f"progs.{p}.prog_fd" for p in found.progs]
        opened = typed(path)
        if not opened.trace().inputs:
            paths += [f"links.{p}_fd" for p in found.progs]
            paths += found.sections
        lines = [
            f"_Static_assert(offsetof(struct {name}, {p}) == offsetof(struct {own}, {p}), {p!r});"
            for p in paths
        ]
        for variable in found.variables:
            section, member = variable.split("->")
            place = f"offsetof(struct {{}}__{section}, {member})"
            lines.append(
                f"_Static_assert({place.format(name)} == {place.format(own)}, {variable!r});"
            )
            size = f"sizeof(((struct {{}} *)0)->{variable})"
            lines.append(
                f"_Static_assert({size.format(name)} == {size.format(own)}, {variable!r});"
            )
        text = f"{light(opened, own)}\n{theirs}\n" + "\n".join(lines).replace("'", '"')
        return problems(f"#include <stdbool.h>\n{text}", "c", "-w"), len(lines)

    def alone(path: Path) -> str:
        text = "#include <errno.h>\n#include <stdbool.h>\n#include <string.h>\n"
        return problems(text + by_bpftool[path], "c", "-w")

    with ThreadPoolExecutor(2) as pool:
        results = dict(zip(by_bpftool, pool.map(comparison, by_bpftool), strict=True))
    differ = {path: said for path, (said, _) in results.items() if said}
    # Some of bpftool's have types that only the object's own headers tell, or no program at all.
    failed = {path.stem: said for path, said in differ.items() if not alone(path)}
    assert not failed, str(failed)[:2000]
    assert len(differ) < 120
    assert sum(compared for path, (_, compared) in results.items() if path not in differ) > 4000


SHAPES = """
typedef unsigned int u32;
typedef struct { u32 a; char b; } pair;
struct event { u32 pid; char comm[16]; struct event *next; enum color { RED, BLUE = 7 } color; };
union either { int number; char bytes[4]; };
struct bits { u32 low : 3, high : 5; unsigned long long wide : 40; };
struct loose { char c; int i; } __attribute__((packed));

int number = 7;
const volatile u32 fixed = 9;
struct event event, events[3];
union either either;
struct bits bits;
pair a_pair, pairs[2];
enum color color;
enum { ONE = 1, TWO } count, other_count;
int *pointer;
pair *pair_pointer;
struct event **deep;
int (*function)(struct event *, pair);
struct event (*array_pointer)[3];
static volatile int hidden = 3;
char spaced_c;
long aligned_l __attribute__((aligned(64)));
struct loose loose;
char class, new, namespace;
_Bool flag;
__int128 wide;
double real;
struct { int x; struct { int y; } inner; union { int u; long v; }; } anonymous;
int matrix[2][3];
int data_in_section SEC(".data.mine") = 4;

SEC("socket") int probe(void *ctx)
{ hidden++; return number + fixed + hidden; }
"""


@pytest.mark.parametrize("standalone", [False, True], ids=["plain", "standalone"])
@pytest.mark.parametrize("language", ["c", "c++"])
def test_shapes(language: str, standalone: bool) -> None:
    """Every kind of type; the header checks size and place of each variable as it is compiled."""
    obj = lskel.open_object(compile_bpf(SHAPES), name="shapes")
    text = light(obj, "shapes", standalone=standalone)
    assert "hidden" not in text
    assert text.count("unexpected offset of") == 28
    word = "class_" if language == "c++" else "class"
    # In C++ labels belong to the struct that has them.
    scope = "shapes::shapes__bss::" if language == "c++" else ""
    uses = f"""
void use(struct shapes *skel)
{{
    skel->data->number = (int)skel->rodata->fixed + {scope}ONE + {scope}TWO;
    skel->bss->events[2].comm[15] = skel->bss->{word};
    skel->bss->event.color = 7;
    skel->bss->a_pair.a = skel->bss->pairs[1].b;
    skel->bss->anonymous.inner.y = skel->bss->matrix[1][2];
    skel->data_mine->data_in_section = skel->bss->bits.high;
}}
"""
    assert problems(text + uses, language, *STRICT) == ""


def test_types_of_the_user() -> None:
    """With LSKEL_USER_TYPES, variables have the types of the object's source."""
    obj = lskel.open_object(compile_bpf(SHAPES), name="shapes")
    types = SHAPES.partition("\nint number")[0]
    uses = "struct event *f(struct shapes *s) { pair *p = &s->bss->a_pair; p->a = RED; "
    uses += "return s->bss->events; }"
    text = f"#define LSKEL_USER_TYPES\n{types}\n{light(obj, 'shapes')}\n{uses}"
    assert problems(text, "c", *STRICT, "-I/usr/include") == ""
    assert problems(text.replace("#define LSKEL_USER_TYPES", ""), "c", *STRICT) != ""


def test_enum_labels_are_told_once() -> None:
    obj = lskel.open_object(
        compile_bpf(
            "enum { A, B } one; enum { C, A2 } two; struct { enum { D } d; } three, four;"
            'SEC("socket") int p(void *c) { return one + two + three.d + four.d; }'
        ),
        name="labels",
    )
    text = light(obj, "labels")
    assert problems(f"{text}\nint x[] = {{ A, B, C, A2, D }};", "c", *STRICT) == ""


def test_names() -> None:
    obj = lskel.open_object(
        compile_bpf('int counter; SEC("xdp") int bss(void *c) { return counter; }'), name="names"
    )
    text = light(obj, "7 my-object.x")
    assert "struct _7_my_object_x {" in text and "#ifndef ___7_MY_OBJECT_X_SKEL_H__" in text
    assert problems(text, "c", *STRICT) == ""


def test_header_can_be_read_back() -> None:
    """What reads bpftool's headers reads these."""
    loader = lskel.generate(
        lskel.open_object(compile_bpf('int x; SEC("xdp") int p(void *c) { return x; }'), name="r"),
        "unrolled",
    )
    found = parse_header(generate_c(loader, "r"))
    assert (found.insns, found.blob) == (loader.insns, loader.blob)
    assert (found.maps, found.programs) == (("bss",), ("p",))


def test_table_form_where_it_must_be(tmp_path: Path) -> None:
    """A loader in table form is made anew for skel_internal.h; too many maps for that keep it."""
    path = tmp_path / "s.bpf.o"
    maps = "\n".join(
        "struct { __uint(type, BPF_MAP_TYPE_ARRAY); __type(key, int); __type(value, int);"
        f'__uint(max_entries, 1); }} m{n} SEC(".maps");'
        for n in range(70)
    )
    source = maps + 'SEC("socket") int p(void *c) { return 0; }'
    small = lskel.open_object(compile_bpf('SEC("socket") int p(void *c) { return 0; }'), name="s")
    large = lskel.open_object(compile_bpf(source), name="s")
    path.write_bytes(compile_bpf(source))
    command("gen", path, "-o", tmp_path / "s.h")
    assert (tmp_path / "s.h").read_text() == light(large, "s")
    _, said = command("gen", path, "-o", tmp_path / "s.h", "--form", "unrolled", status=1)
    assert "70 maps, an unrolled loader has at most 64" in said
    for obj, is_unrolled in ((small, True), (large, False)):
        text = light(obj, "s")
        assert text == light(obj, "s", form="table")
        assert ("bpf_load_and_run(&opts)" in text) is is_unrolled
        assert ("lskel_run(&opts)" in text) is not is_unrolled
        for language in ("c", "c++"):
            assert problems(text, language, *STRICT) == ""


def test_only_the_stable_part_of_libbpf() -> None:
    """Newer versions have other parameters for functions of map data; those are not used."""
    source = 'int x; const int y = 3; SEC("raw_tp/sys_enter") int p(void *c) { return x + y; }'
    obj = lskel.open_object(compile_bpf(source + 'SEC("iter/task") int i(void *c) { return 0; }'))
    used = set(re.findall(r"(?<!\w)(?:skel|bpf)_\w+(?=\()", light(obj, "s")))
    kernel = {"bpf_map_get", "bpf_map_put"}
    assert used - kernel == {
        "skel_alloc",
        "skel_free",
        "skel_link_create",
        "skel_raw_tracepoint_open",
        "bpf_load_and_run",
    }


MACROS = """
#undef errno
#undef linux
struct event { int pid, errno, SEEK_SET, MAP_SHARED, offsetof, linux, and, current, defined; };
struct event last;
int sa_handler = 3, PROT_READ;
enum { SIGHUP = 70, SIG_LATER } signal_;
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __type(key, int); __type(value, int);
         __uint(max_entries, 1); } si_pid SEC(".maps");
SEC("socket") int S_IFMT(void *ctx)
{ last.SEEK_SET = signal_; last.errno = 1; return sa_handler + PROT_READ; }
"""
MACROS_USER = """
#include <iso646.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#define current get_current()
#include "skel.h"

#if SEEK_SET != 0 || SEEK_CUR != 1 || MAP_SHARED != 1 || SIGHUP != 1
#error "a macro is not what it was"
#endif
#undef sa_handler
#undef si_pid
int main(void)
{
    struct macros *skel = macros__open_and_load();

    printf("%d %d %d\\n", skel && skel->maps.si_pid.map_fd > 2 && !(S_IFMT & 1),
           skel->data->sa_handler, skel->bss->last.errno_);
    macros__destroy(skel);
    return 0;
}
"""


@pytest.mark.kernel
@pytest.mark.parametrize("standalone", [False, True], ids=["plain", "standalone"])
@pytest.mark.parametrize("language", ["c", "c++"])
def test_members_that_are_macros(tmp_path: Path, language: str, standalone: bool) -> None:
    """Of any header that is included before; they are what they were afterwards."""
    obj = lskel.open_object(compile_bpf(MACROS), name="macros")
    text = light(obj, "macros", standalone=standalone)
    program = build(tmp_path / "b", text, MACROS_USER, language=language)
    assert run(program) == (0, "1 3 0\n", "")


FLOATS = """
long double wide = 1.5, several[3];
struct { int first; long double wide; float narrow; } together = { 1, 2.5, 3 };
SEC("socket") int p(void *c) { return 0; }
"""
FLOATS_USER = """
#include <stdio.h>
#include "skel.h"

int main(void)
{
    struct floats *skel = floats__open_and_load();

    printf("%g %g %g %d\\n", (double)skel->data->wide, (double)skel->data->together.wide,
           skel->data->together.narrow, (int)sizeof(skel->bss->several));
    floats__destroy(skel);
    return 0;
}
"""


@pytest.mark.kernel
@pytest.mark.parametrize("language", ["c", "c++"])
def test_long_double_is_that_of_bpf(tmp_path: Path, language: str) -> None:
    """8 bytes; 16 on x86-64."""
    obj = lskel.open_object(compile_bpf(FLOATS), name="floats")
    program = build(tmp_path / "b", light(obj, "floats"), FLOATS_USER, language=language)
    assert run(program) == (0, "1.5 2.5 3 24\n", "")


LONG_NAMES = """
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __type(key, int); __type(value, int);
         __uint(max_entries, 1); } a_map_with_a_long_name SEC(".maps");
int variable;
SEC("socket") int a_program_with_a_long_name(void *ctx)
{ return variable + !&a_map_with_a_long_name; }
"""


def test_long_names(tmp_path: Path) -> None:
    """The 15 characters of the kernel's names are no limit of identifiers; as with bpftool."""
    name = "an_object_with_a_long_name"
    path = tmp_path / f"{name}.bpf.o"
    path.write_bytes(compile_bpf(LONG_NAMES))
    command("gen", path, "-o", tmp_path / "ours.h")
    ours, theirs = (tmp_path / "ours.h").read_text(), by_bpftool(path, name)
    assert members(ours)[:3] == members(theirs)[:3]
    pattern = re.compile(rf"^struct {name} {{|^{name}__\w*attach\(", re.MULTILINE)
    assert pattern.findall(ours) == pattern.findall(theirs) != []
    assert [a_map.name for a_map in lskel.open_object(path).maps][1] == "an_objec.bss"
