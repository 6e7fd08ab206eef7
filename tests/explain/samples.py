"""Objects for these tests, and what is explained of them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from lskel.errors import LskelError
from lskel.explain.build import ReportInput, explain
from lskel.explain.report import Report
from lskel.loader.generate import generate
from lskel.loader.model import Form, Loader
from lskel.object.model import Object
from lskel.object.open import open_object
from tests.build.clang import compile_bpf
from tests.describe.samples import ASKING, EXAMPLE_OBJECTS, LOADABLE

# Each loads but for its last program, which the kernel refuses.
REFUSED = """
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 64);
         __type(key, __u32); __type(value, __u64); } counts SEC(".maps");
SEC("raw_tp/sys_enter") int fine(void *ctx) { return 0; }
SEC("raw_tp/sys_exit") int count(void *ctx)
{
	__u32 key = 0;
	__u64 *value = bpf_map_lookup_elem(&counts, &key);

	__sync_fetch_and_add(value, 1);
	return 0;
}
"""
# No section of this name is known.
UNTYPED = """
SEC("raw_tp/sys_enter") int fine(void *ctx) { return 0; }
SEC("parser") int parse(struct __sk_buff *skb) { return skb->len; }
"""
# A hash map of no entries is refused, by the simulator as well.
NO_ENTRIES = """
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1);
         __type(key, __u32); __type(value, __u64); } fine SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_HASH);
         __type(key, __u32); __type(value, __u64); } empty SEC(".maps");
SEC("raw_tp/sys_enter") int use(void *ctx)
{
	__u32 key = 0;

	return !bpf_map_lookup_elem(&fine, &key) + !bpf_map_lookup_elem(&empty, &key);
}
"""
PINNED = """
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32);
         __type(value, __u64); __uint(pinning, LIBBPF_PIN_BY_NAME); } shared SEC(".maps");
SEC("raw_tp/sys_enter") int use(void *ctx)
{
	return !bpf_map_lookup_elem(&shared, &(__u32){0});
}
"""


def given(source: Path | str | bytes, form: Form = Form.TABLE) -> ReportInput:
    """A file, the text of a C source or the bytes of an object, with its loader if it has one."""
    data = source.read_bytes() if isinstance(source, Path) else source
    name = source.name if isinstance(source, Path) else "sample.bpf.o"
    if isinstance(data, str):
        data = compile_bpf(data)
    return of_object(open_object(data, name.split(".", 1)[0]), name, form)


def of_object(obj: Object, file: str, form: Form = Form.TABLE) -> ReportInput:
    """An object with its loader, if it has one."""
    try:
        return ReportInput(file, obj, generate(obj, form))
    except LskelError as error:
        return ReportInput(file, obj, None, str(error))


@cache
def sample(name: str, form: Form = Form.TABLE) -> tuple[Report, Loader]:
    """The report of one of `SAMPLES`, and the loader."""
    found = given(SAMPLES[name], form)
    assert found.loader is not None, found.problem
    return explain(found), found.loader


SAMPLES: dict[str, Path | str] = {
    **{path.name.split(".")[0]: path for path in EXAMPLE_OBJECTS},
    "loadable": LOADABLE,
    "asking": ASKING,
}
