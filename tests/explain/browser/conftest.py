"""The browser, and pages of objects: a small one, the largest, and some that fail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lskel.cli import main
from tests import corpus
from tests.build.clang import compile_bpf, example
from tests.conftest import kernel_refusal, lacking
from tests.explain.browser.browser import Browser, browser
from tests.loader.forged import forge, resize_in_blob
from tests.loader.test_verify import bundle

# Forgets that there may be no element of that key.
BROKEN = """
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 64);
    __type(key, __u32); __type(value, __u64); } counts SEC(".maps");
SEC("raw_tp/sys_enter") int fine(void *ctx) { return 0; }
SEC("raw_tp/sys_exit") int count(void *ctx)
{
    __u32 key = 1;
    __u64 *value = bpf_map_lookup_elem(&counts, &key);
    __sync_fetch_and_add(value, 1);
    return 0;
}
"""
# The section's name gives no type.
HOPELESS = 'SEC("parser") int parse(struct __sk_buff *skb) { return skb->len; }'
# Of the corpus, these have most code and most data.
MOST_CODE = "pyperf600"


def explain(target: Path, source: Path, *args: str | Path) -> Path:
    """The page of an object, made as a user makes it."""
    assert main(["explain", str(source), "-o", str(target), *map(str, args)]) == 0
    return target


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def tab(chromium: Browser) -> Iterator[Browser]:
    """The browser, in a window of the usual size; the test leaves no complaint in its console."""
    chromium.size(1400, 900)
    chromium.system(prefers_color_scheme="light")
    yield chromium
    assert chromium.complaints() == []


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="session")
def small(pages: Path) -> Path:
    return explain(pages / "small.html", example("execsnoop"))


@pytest.fixture(scope="session")
def unrolled(pages: Path) -> Path:
    return explain(pages / "unrolled.html", example("execsnoop"), "--form", "unrolled")


@pytest.fixture(scope="session")
def compared(pages: Path) -> Path:
    return explain(pages / "compared.html", example("execsnoop"), "--against", example("hello"))


@pytest.fixture(scope="session")
def identical(pages: Path) -> Path:
    return explain(
        pages / "identical.html", example("execsnoop"), "--against", example("execsnoop")
    )


@pytest.fixture(scope="session")
def changed(pages: Path) -> Path:
    """What differs between two versions of an object."""
    for name, number in (("old", 1), ("new", 2)):
        code = f'SEC("xdp") int drop(void *ctx) {{ return {number}; }}'
        (pages / f"{name}.bpf.o").write_bytes(compile_bpf(code))
    return explain(pages / "changed.html", pages / "new.bpf.o", "--against", pages / "old.bpf.o")


def _of_corpus(pages: Path, name: str) -> Path:
    if missing := corpus.missing():
        lacking(f"the corpus needs {', '.join(missing)}")
    path = next(path for path in corpus.objects() if path.stem == name)
    return explain(pages / f"{name}.html", path)


@pytest.fixture(scope="session")
def large(pages: Path) -> Path:
    return _of_corpus(pages, MOST_CODE)


@pytest.fixture(scope="session")
def bulky(pages: Path) -> Path:
    """Constants are carried, however many of them are 0."""
    source = """
    const volatile char zeros[16 << 20] SEC(".rodata");
    SEC("xdp") int get(void *ctx) { return zeros[7]; }
    """
    (pages / "bulky.bpf.o").write_bytes(compile_bpf(source))
    return explain(pages / "bulky.html", pages / "bulky.bpf.o")


@pytest.fixture(scope="session")
def crowded(pages: Path) -> Path:
    """It has a hundred maps, and a hundred programs that use one each."""
    source = "".join(
        f"""
        struct {{ __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 64);
            __type(key, int); __type(value, long); }} map_{i} SEC(".maps");
        SEC("xdp") int prog_{i}(void *ctx)
        {{ int key = {i}; bpf_map_lookup_elem(&map_{i}, &key); return 2; }}
        """
        for i in range(100)
    )
    (pages / "crowded.bpf.o").write_bytes(compile_bpf(source))
    return explain(pages / "crowded.html", pages / "crowded.bpf.o")


@pytest.fixture(scope="session")
def refused(pages: Path) -> Path:
    """The kernel's verifier refuses one of its programs."""
    if kernel_refusal():
        lacking(kernel_refusal())
    source = pages / "broken.bpf.o"
    source.write_bytes(compile_bpf(BROKEN))
    return explain(pages / "refused.html", source, "--measure")


@pytest.fixture(scope="session")
def hopeless(pages: Path) -> Path:
    """There is no loader for it."""
    source = pages / "hopeless.bpf.o"
    source.write_bytes(compile_bpf(HOPELESS))
    return explain(pages / "hopeless.html", source)


@pytest.fixture(scope="session")
def untrue(pages: Path) -> Path:
    """Its bytes are not what its description generates."""
    source = pages / "untrue.lskel"
    source.write_bytes(forge(bundle(), lambda members: resize_in_blob(members, "table", 20)))
    return explain(pages / "untrue.html", source)
