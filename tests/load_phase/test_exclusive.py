"""Maps that one program only may use."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

import lskel
from lskel.cli import main
from lskel.errors import NotFound, NotSupported, ReplayError
from lskel.loader.bundle import load as load_bundle
from lskel.loader.model import Form
from lskel.replay.simulator.run import run
from tests.build.clang import compile_bpf
from tests.conftest import lacking
from tests.loads import Load, both
from tests.runtime.programs import run_program

SOURCE = """
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 4);
         __type(key, int); __type(value, long); } secret SEC(".maps");
int calls;
static __attribute__((noinline)) int look(int key)
{ calls++; return bpf_map_lookup_elem(&secret, &key) != 0; }
SEC("socket") int owner(void *ctx) { return look(1); }
SEC("?socket") int other(void *ctx) { return look(2); }
SEC("?socket") int relocated(struct __sk_buff *ctx)
{ return __builtin_preserve_access_index(ctx->len) + look(3); }
extern const void jiffies __attribute__((section(".ksyms")));
SEC("?socket") int symbol(void *ctx) { return look(4) + ((long)&jiffies & 1); }
"""


def exclusive(program: str, **autoload: bool) -> lskel.Object:
    obj = lskel.open_object(compile_bpf(SOURCE), "sample").with_map("secret", exclusive=program)
    for name, wanted in autoload.items():
        obj = obj.with_program(name, autoload=wanted)
    return obj


@pytest.fixture
def _has_exclusive_maps() -> None:
    try:
        lskel.load(exclusive("owner"), direct=True).load().close()
    except ReplayError as error:
        if error.errno != errno.E2BIG:
            raise
        lacking("this kernel has no exclusive maps: Linux 6.18 has them")


@both
@pytest.mark.kernel
@pytest.mark.usefixtures("_has_exclusive_maps")
@pytest.mark.parametrize("form", Form)
def test_in_the_kernel(form: Form, load: Load, tmp_path: Path) -> None:
    path = tmp_path / "exclusive.lskel"
    lskel.generate(exclusive("owner"), form).save(path)
    with load(load_bundle(path)) as bpf:
        bpf.maps.secret[1] = 5
        assert run_program(bpf.progs.owner, packet=bytes(64)) == 1
    with pytest.raises(ReplayError, match="doesn't match map's excl_prog_hash") as caught:
        load(lskel.generate(exclusive("owner", other=True), form))
    assert caught.value.errno == errno.EACCES
    assert caught.value.label is not None and caught.value.label.name == "other"


@pytest.mark.parametrize("form", Form)
def test_in_the_simulator(form: Form) -> None:
    assert run(lskel.generate(exclusive("owner"), form)).value == 0
    refused = run(lskel.generate(exclusive("owner", other=True), form))
    assert refused.value == -errno.EACCES
    assert "'other'" in str(refused.failure)


@pytest.mark.parametrize(
    ("program", "error", "said"),
    [
        ("relocated", NotSupported, "has CO-RE relocations: only the target knows its hash"),
        ("symbol", NotSupported, "has kernel symbols in its code: only the target"),
        ("nobody", NotFound, "no program 'nobody'"),
    ],
)
def test_programs_that_it_cannot_be_for(program: str, error: type, said: str) -> None:
    with pytest.raises(error, match=rf"section .maps: map 'secret': .*{said}"):
        exclusive(program).trace()


@pytest.mark.parametrize("as_bundle", [False, True])
def test_shown(as_bundle: bool, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "sample.bpf.o"
    path.write_bytes(compile_bpf(SOURCE))
    words = ["--exclusive", "secret=owner", str(path)]
    if as_bundle:
        assert main(["gen", *words, "-o", str(tmp_path / "x.lskel")]) == 0
        words = [str(tmp_path / "x.lskel")]
    assert main(["inspect", *words]) == 0
    assert "for program owner only" in capsys.readouterr().out
    assert main(["trace", *words]) == 0
    assert "excl_prog_hash=[32 bytes], excl_prog_hash_size=32" in capsys.readouterr().out


def test_unknown_names(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "sample.bpf.o"
    path.write_bytes(compile_bpf(SOURCE))
    for given, said in (("secret=x", "no program 'x'"), ("x=owner", "no map 'x'")):
        assert main(["inspect", "--exclusive", given, str(path)]) == 1
        assert f"--exclusive: {said}" in capsys.readouterr().err
