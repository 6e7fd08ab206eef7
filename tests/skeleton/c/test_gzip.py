"""Compressed configuration files, which the header reads by itself: what zlib wrote comes back."""

from __future__ import annotations

import gzip
import random
import re
import subprocess
import zlib
from pathlib import Path

import pytest

import lskel
from tests.build.clang import compile_bpf
from tests.skeleton.c.headers import HEADER, build, light, run

CONFIGURED = """
extern int CONFIG_HZ __kconfig;
SEC("raw_tp/sys_enter") int probe(void *ctx) { return CONFIG_HZ; }
"""
# Reads the files that are named: writes each back, or says its errno.
PROGRAM = f"""
#include "{HEADER}"

int main(int argc, char **argv)
{{
    for (int i = 1; i < argc; i++) {{
        char *text = NULL, name[4096];
        FILE *in = lskel_kconfig_open(argv[i], &text), *out;
        int c;

        snprintf(name, sizeof(name), "%s.out", argv[i]);
        out = fopen(name, "we");
        if (!in)
            fprintf(out, "errno %d", errno);
        while (in && (c = getc(in)) != EOF)
            putc(c, out);
        fclose(out);
        if (in)
            fclose(in);
        free(text);
    }}
    return 0;
}}
"""
UNREADABLE = b"errno 22"


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    header = light(lskel.open_object(compile_bpf(CONFIGURED), name="prog"), "prog", standalone=True)
    return build(tmp_path_factory.mktemp("reader"), header, PROGRAM, "-fsanitize=address,undefined")


def read_by(reader: Path, directory: Path, files: list[bytes]) -> list[bytes]:
    """What the program reads in each file."""
    paths = [directory / str(number) for number in range(len(files))]
    for path, data in zip(paths, files, strict=True):
        path.write_bytes(data)
    done = run(reader, *paths)
    assert (done.status, done.err) == (0, "")
    return [Path(f"{path}.out").read_bytes() for path in paths]


def compressed(data: bytes, level: int, strategy: int, window: int) -> bytes:
    made = zlib.compressobj(level, zlib.DEFLATED, 16 + window, 9, strategy)
    return made.compress(data) + made.flush()


def texts() -> list[bytes]:
    rng = random.Random(7)
    config = b"".join(b"CONFIG_N%d=%c\n" % (n, rng.choice(b"ymn")) for n in range(30_000))
    return [
        *(b"\n", config, b"a" * 100_000),
        *(rng.randbytes(70_000), bytes(rng.choice(b"ab") for _ in range(50_000))),
    ]


def test_what_zlib_wrote(reader: Path, tmp_path: Path) -> None:
    """Blocks that are stored, of fixed codes and of their own, with matches near and far."""
    strategies = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FIXED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE)
    cases = [
        (text, compressed(text, level, strategy, window))
        for text in texts()
        for level in (0, 1, 9)
        for strategy in strategies
        for window in (9, 15)
    ]
    assert read_by(reader, tmp_path, [made for _, made in cases]) == [text for text, _ in cases]


def test_parts_of_the_head(reader: Path, tmp_path: Path) -> None:
    """What a gzip file may say before its data is skipped; a file that is not gzip is as it is."""
    body = gzip.compress(b"CONFIG_HZ=1\n", mtime=0)[10:]
    extra, name, note, check = b"\x03\x00abc", b"config\0", b"a note\0", b"\0\0"
    heads = {0: b"", 4: extra, 8: name, 16: note, 2: check, 31: extra + name + note + check}
    files = [
        b"\x1f\x8b\x08" + bytes([flags]) + bytes(6) + parts + body for flags, parts in heads.items()
    ]
    assert read_by(reader, tmp_path, files) == [b"CONFIG_HZ=1\n"] * len(files)
    assert read_by(reader, tmp_path, [b"CONFIG_HZ=1\n", b""]) == [b"CONFIG_HZ=1\n", b""]


def test_damaged(reader: Path, tmp_path: Path) -> None:
    """An error, or what zlib reads: never anything else, and no memory but its own."""
    rng = random.Random(1)
    files = []
    for text in (b"CONFIG_HZ=250\n" * 20, rng.randbytes(200), texts()[1][:4000]):
        for made in (compressed(text, 9, zlib.Z_DEFAULT_STRATEGY, 15), gzip.compress(text, 0)):
            for _ in range(150):
                damaged = bytearray(made)
                damaged[rng.randrange(1, len(made))] = rng.randrange(256)
                files.append(bytes(damaged[: rng.choice((len(made), rng.randrange(2, len(made))))]))
    found = read_by(reader, tmp_path, files)
    assert 100 < found.count(UNREADABLE) < len(found)
    for data, read in zip(files, found, strict=True):
        if read != UNREADABLE:
            assert read == gzip.decompress(data)


def test_no_program_is_run(reader: Path) -> None:
    """Whatever PATH is: the program calls nothing that starts another one, nor asks for PATH."""
    done = subprocess.run(["nm", "-u", reader], capture_output=True, text=True, check=True)
    called = {line.split()[-1].partition("@")[0] for line in done.stdout.splitlines()}
    assert {"fmemopen", "fopen"} <= called
    starting = r"popen|system|v?fork|clone|posix_spawn\w*|f?exec\w+|\w*getenv"
    assert not [name for name in called if re.fullmatch(starting, name)]
