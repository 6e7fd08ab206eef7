"""The examples in the help of each command, which the site's page on the command line shows too."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from lskel.cli import COMMANDS, cli
from tests.build.clang import compile_bpf
from tests.conftest import lacking
from tests.docs.desk import Desk, desk
from tests.docs.not_run import NOT_RUN
from tests.docs.options import check_options

HELP = "help"
# What the names of objects in the examples stand for.
SOURCES = {
    "parser.o": 'SEC("parser") int parse(struct __sk_buff *skb) { return skb->len; }',
    "tool.bpf.o": """
        struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 64);
                 __type(key, __u32); __type(value, __u64); } counts SEC(".maps");
        SEC("raw_tp/sys_enter") int count(void *ctx)
        {
            __u32 key = 0;
            __u64 *value = bpf_map_lookup_elem(&counts, &key);
            return *value;
        }""",
    "trace.bpf.o": """
        struct sample_t { __u64 at; } *unused;
        struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } samples
            SEC(".maps");
        SEC("raw_tp/sys_enter") int sample(void *ctx)
        {
            struct sample_t sample = {bpf_ktime_get_ns()};
            return bpf_ringbuf_output(&samples, &sample, sizeof(sample), 0);
        }""",
    "probe.bpf.o": """
        extern int CONFIG_HZ __kconfig;
        int calls;
        SEC("fentry") int on_call(void *ctx) { calls += CONFIG_HZ; return 0; }
        SEC("?raw_tp/sys_exit") int on_return(void *ctx) { calls--; return 0; }""",
}
# What `lskel run` says when it is ready, and what `--json` prints then.
ATTACHED = re.compile('^attached |"event"', re.MULTILINE)
# Before the examples, as whoever reads them has done.
BEFORE = """
cp examples/*.bpf.o .
mkdir build
cp examples/*.bpf.o build
rm build/fifosched.bpf.o  # for kernels with sched_ext
cp hello.bpf.o old.bpf.o
cp syscount.bpf.o new.bpf.o
for name in hello trace probe execsnoop tcpconnlat; do lskel gen $name.bpf.o -o $name.lskel; done
for name in hello tool; do bpftool gen skeleton -L $name.bpf.o name $name > $name.lskel.h; done
lskel load tool.bpf.o -v 2> build.log || true
"""


def examples() -> Iterator[tuple[str, str]]:
    """The commands in the help of each command, in the order of the list of commands."""
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None and command.help is not None
        for line in command.help.partition("Example:\n")[2].splitlines():
            if line.strip():
                yield name, line.strip()


def test_every_command_has_one() -> None:
    assert {name for name, _ in examples()} == set(COMMANDS)


def test_commands_that_are_not_run() -> None:
    assert {text for page, text in NOT_RUN if page == HELP} <= {text for _, text in examples()}


@pytest.mark.parametrize("text", [text for _, text in examples()])
def test_options(text: str) -> None:
    """What is shown is what the command takes."""
    check_options(text)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    clang = shutil.which("clang-19") or shutil.which("clang")
    if clang is None or shutil.which("bpftool", path="/usr/sbin:/sbin:/usr/bin") is None:
        lacking("clang or bpftool is not installed")
    directory: Path = tmp_path_factory.mktemp("help")
    with desk(directory, clang) as made:
        for name, source in SOURCES.items():
            (directory / name).write_bytes(compile_bpf(source))
        done = made.type(f"set -e\n{BEFORE}", as_root=True)
        assert done.status == 0, done.text
        yield made


@pytest.mark.kernel
@pytest.mark.parametrize("text", [text for _, text in examples() if (HELP, text) not in NOT_RUN])
def test_examples(text: str, prepared: Desk) -> None:
    """Each works. What runs until Ctrl-C gets one when it has attached."""
    done = prepared.type(
        text,
        as_root=True,
        until=(lambda printed: bool(ATTACHED.search(printed))) if " run " in text else None,
    )
    assert done.status == (1 if " --fail " in text else 0), done.text
    assert "Traceback" not in done.text, done.text
