"""Python skeletons: what they say, and what they do in this kernel."""

from __future__ import annotations

import ast
import errno
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import lskel
from lskel.errors import NotFound, ReplayError, UsageError
from lskel.runtime.info import map_info, prog_info
from lskel.runtime.objects import Fd
from lskel.skeleton import python_source
from lskel.skeleton.python import generate_python
from tests.build.clang import EXAMPLES, example, simple_examples
from tests.conftest import Run
from tests.skeleton.modules import Door, by_load, compiled, doors, module_of, skeleton_class

ROOT = Path(lskel.__file__).parent

DATA = """
enum mode { OFF, ON = 7 };
struct limits { __u32 low, high; char name[8]; };
const volatile struct limits limits = { 1, 2, "first" };
const volatile enum mode mode = ON;
__u64 runs;
__s32 table[4] = { 1, -2, 3, -4 };
static __u32 hidden = 5;
long custom SEC(".data.custom") = 77;
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 8);
         __type(key, struct limits); __type(value, __u64); } seen SEC(".maps");
SEC("raw_tp/sys_enter") int count(void *ctx)
{
    __u64 value = limits.high;
    struct limits key = limits;
    __sync_fetch_and_add(&runs, 1);
    table[1] += hidden; hidden++;
    custom++;
    bpf_map_update_elem(&seen, &key, &value, 0);
    return mode;
}
SEC("?raw_tp/sys_exit") int off(void *ctx) { return 0; }
"""


# -- the text --------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["table", "unrolled"])
def test_the_embedded_runtime_is_the_runtime(form: str) -> None:
    text = generate_python(lskel.generate(lskel.open_object(example("execsnoop")), form))
    tree = ast.parse(text)
    (texts,) = (
        ast.literal_eval(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_RUNTIME"
    )
    assert "runtime.collection" in texts
    for name, content in texts.items():
        path = ROOT.joinpath(*name.split("."))
        source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        assert content == source.read_text(), name


def test_all_modules_that_may_be_embedded_can_be() -> None:
    for path in sorted((ROOT / "runtime").rglob("*.py")):
        assert python_source.QUOTES not in path.read_text(), path


DEAR = {"asyncio", "dataclasses", "inspect", "json", "pathlib", "re", "socket", "typing"}


@pytest.mark.parametrize("path", simple_examples(), ids=lambda path: path.stem)
def test_nothing_dear_is_imported(path: Path, tmp_path: Path) -> None:
    text = generate_python(lskel.generate(lskel.open_object(path), "auto"), "Skeleton_")
    (tmp_path / "tool.py").write_text(text)
    script = "import sys, tool; tool.Skeleton_(); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", script],
        cwd=tmp_path,
        env={},
        capture_output=True,
        text=True,
        check=True,
    )
    modules = {name.partition(".")[0] for name in done.stdout.split()}
    assert not modules & DEAR and "lskel" not in modules


def test_deterministic() -> None:
    loader = compiled(DATA)
    assert generate_python(loader) == generate_python(loader)


def test_errors_of_generation() -> None:
    loader = compiled(DATA)
    with pytest.raises(UsageError, match="is not a valid class name"):
        generate_python(loader, "class")
    with pytest.raises(NotFound, match="no ring or perf buffer 'seen'"):
        generate_python(loader, event_types={"seen": "limits"})


@pytest.mark.parametrize("embedded", [True, False])
def test_types_are_checked(tmp_path: Path, embedded: bool) -> None:
    """mypy, strictly, on a script and its skeleton."""
    text = generate_python(compiled(DATA), "Data", embed=embedded)
    (tmp_path / "data_lskel.py").write_text(text)
    script = tmp_path / "script.py"
    script.write_text(
        "from data_lskel import Data\n"
        "with Data() as skel:\n"
        "    reveal_type(skel.bss.runs)\n"
        "    reveal_type(skel.rodata.limits.name)\n"
        "    reveal_type(skel.maps.seen)\n"
        "    skel.rodata.limits.low = 'no'\n"
        "    skel.maps.other\n"
        "    skel.progs.count.attach()\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "script.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    lines = [line.partition(": ")[2] for line in done.stdout.splitlines()]
    assert lines[0] == 'note: Revealed type is "int"'
    assert lines[1] == 'note: Revealed type is "bytes"'
    assert "HashMap[" in lines[2] and "limits, int]" in lines[2].replace("builtins.", "")
    assert "Incompatible types in assignment" in lines[3]
    assert 'has no attribute "other"' in lines[4]
    assert len(lines) == 5, done.stdout


# -- before load -----------------------------------------------------------------------------------


@doors
def test_open_needs_no_kernel(door: Door) -> None:
    with door(compiled(DATA)) as skel:
        assert skel.rodata.limits.name == b"first" and skel.rodata.mode == 7
        assert list(skel.data.table) == [1, -2, 3, -4]
        assert skel.data_custom.custom == 77 and skel.bss.runs == 0
        assert [m.name for m in skel.maps][-1] == "seen" or "seen" in {m.name for m in skel.maps}
        assert not skel.progs.off.autoload and skel.progs.count.autoload
        with pytest.raises(AttributeError, match=r"no program 'nothing'.*count, off"):
            _ = skel.progs.nothing
        with pytest.raises(AttributeError, match="runs"):
            skel.rodata.runs = 1
        with pytest.raises(UsageError, match="cannot have 0 entries"):
            skel.maps.seen.max_entries = 0
        # Several static variables may have one name: a module, which names types, leaves them out.
        assert ("hidden" in skel.data.asdict()) == (door is by_load)
        assert not skel.loaded


# -- in the kernel ---------------------------------------------------------------------------------


@pytest.mark.kernel
@pytest.mark.parametrize("embedded", [True, False])
@pytest.mark.parametrize("form", ["table", "unrolled"])
def test_life(embedded: bool, form: str, run: Run) -> None:
    skeleton = skeleton_class(compiled(DATA, form=form), embed=embedded)
    errors = sys.modules[skeleton.__module__]
    with skeleton() as skel:
        skel.rodata.limits.high = 1234
        skel.rodata.limits.name = b"second"
        skel.data.table = [10, 20, 30, 40]
        skel.maps.seen.max_entries = 3
        skel.progs.off.autoload = True
        skel.load()
        assert skel.loaded and skel.progs.off.loaded
        assert skel.maps.seen.info().max_entries == 3
        shown = run(
            "bpftool",
            "-j",
            "map",
            "lookup",
            "id",
            str(map_id(skel.maps.rodata)),
            "key",
            "0",
            "0",
            "0",
            "0",
        )
        assert "second" in shown and "1234" in shown
        assert skel.rodata.limits.high == 1234 and skel.bss.runs == 0
        with pytest.raises(AttributeError, match=r"read-only.*before load"):
            skel.rodata.limits.high = 1
        with pytest.raises(errors.UsageError, match="before load"):
            skel.maps.seen.max_entries = 4
        with pytest.raises(errors.UsageError, match="already loaded"):
            skel.load()

        skel.attach()
        deadline = time.monotonic() + 5
        while not skel.bss.runs and time.monotonic() < deadline:
            time.sleep(0.001)
        assert skel.bss.runs and list(skel.data.table)[1] != 20
        assert skel.data_custom.custom > 77
        assert len(skel.links) == 2 and not skel.links.count.closed
        skel.detach()
        before = skel.bss.runs
        skel.bss.runs = 5  # the programs' own memory
        time.sleep(0.01)
        assert skel.bss.runs == 5 and before
        skel.attach()
        time.sleep(0.01)
        assert skel.bss.runs > 5
    with pytest.raises(errors.UsageError, match="closed"):
        _ = skel.bss
    with pytest.raises(errors.UsageError, match="closed"):
        skel.load()


def map_id(made: Any) -> int:
    return map_info(made.fileno()).id


@pytest.mark.kernel
@doors
def test_a_program_that_the_verifier_refuses(door: Door) -> None:
    source = """
    struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 8);
             __type(key, int); __type(value, int); } m SEC(".maps");
    SEC("raw_tp/sys_enter") int fine(void *ctx) { return 0; }
    SEC("raw_tp/sys_exit") int broken(void *ctx)
    { int key = 0, *value = bpf_map_lookup_elem(&m, &key); return *value; }
    """
    with door(compiled(source)) as skel:
        with pytest.raises(ReplayError) as caught:
            skel.load()
        assert str(caught.value).startswith("test: BPF_PROG_LOAD of program 'broken': EACCES")
        assert "map_value_or_null" in str(caught.value)
        assert any("R0 invalid mem access" in line for line in caught.value.log)
        skel.progs.broken.autoload = False
        skel.load()  # a load that failed may be tried again
        assert skel.progs.fine.loaded and not skel.progs.broken.loaded
        with pytest.raises(UsageError, match="'broken' is not loaded"):
            skel.progs.broken.attach()


@pytest.mark.kernel
def test_without_permission(tmp_path: Path) -> None:
    (tmp_path / "hello_lskel.py").write_text(
        generate_python(lskel.generate(lskel.open_object(example("hello")), "auto"))
    )
    script = (
        "import os, hello_lskel; skel = hello_lskel.Hello(); "
        "os.setgid(65534); os.setuid(65534); skel.load()"
    )
    tmp_path.chmod(0o755)
    for part in tmp_path.parents[:2]:
        part.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-S", "-c", script],
        cwd=tmp_path,
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "NoPermission: hello: the kernel refuses the loader program" in done.stderr
    assert "CAP_BPF" in done.stderr


@pytest.mark.kernel
@doors
def test_what_the_target_is_asked_for(door: Door, tmp_path: Path) -> None:
    """Configuration, and a program's function to replace."""
    asking = """
    extern int CONFIG_HZ __kconfig;
    extern unsigned int LINUX_KERNEL_VERSION __kconfig;
    int hz;
    __attribute__((noinline)) int part(struct __sk_buff *skb) { return skb->len + 1; }
    SEC("tc") int whole(struct __sk_buff *skb)
    { hz = CONFIG_HZ + LINUX_KERNEL_VERSION; return part(skb); }
    """
    replacing = """
    SEC("freplace") int other(struct __sk_buff *skb) { return 1; }
    """
    with door(compiled(asking)) as skel, skeleton_class(compiled(replacing, "replacing"))() as new:
        skel.maps.kconfig.configured["CONFIG_HZ"] = "123"
        skel.load()
        assert skel.kconfig.CONFIG_HZ == 123
        assert skel.kconfig.LINUX_KERNEL_VERSION >> 16 >= 5
        with pytest.raises(UsageError, match=r"'other'.*does not name an attach target"):
            new.load()
        new.progs.other.target = f"id:{prog_info(skel.progs.whole.fileno()).id}:part"
        try:
            new.load()
        except ReplayError as error:  # a kernel that is locked down
            assert error.errno == errno.EPERM and not error.log
        else:
            assert new.progs.other.info().attach_btf_id


@pytest.mark.kernel
@doors
def test_shared_by_pin(door: Door, bpffs: Path) -> None:
    source = """
    struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 2); __type(key, int);
             __type(value, long); __uint(pinning, LIBBPF_PIN_BY_NAME); } shared SEC(".maps");
    SEC("raw_tp/sys_enter") int p(void *ctx)
    { int key = 0; return bpf_map_lookup_elem(&shared, &key) != 0; }
    """
    with (
        door(compiled(source)) as first,
        door(compiled(source)) as second,
        door(compiled(source)) as third,
    ):
        first.pin_root = second.pin_root = third.pin_root = str(bpffs)
        first.load()
        first.maps.shared[1] = 99
        second.load()
        assert second.maps.shared[1] == 99
        third.maps.shared.max_entries = 3
        with pytest.raises(UsageError, match="max_entries 3, pinned 2"):
            third.load()
    assert (bpffs / "shared").exists()


@pytest.mark.kernel
@doors
def test_two_in_one_process(door: Door) -> None:
    with door(compiled(DATA)) as one, door(compiled(DATA)) as two:
        one.load()
        two.rodata.mode = 0
        two.load()
        assert (one.rodata.mode, two.rodata.mode) == (7, 0)
        assert map_id(one.maps.seen) != map_id(two.maps.seen)


@pytest.mark.kernel
@doors
def test_a_failing_attach_detaches_what_it_attached(door: Door) -> None:
    source = """
    SEC("raw_tp/sys_enter") int good(void *ctx) { return 0; }
    SEC("raw_tp/no_such_tracepoint") int bad(void *ctx) { return 0; }
    """
    with door(compiled(source)) as skel:
        skel.load()
        with pytest.raises(NotFound, match=r"program 'bad'.*no_such_tracepoint"):
            skel.attach()
        assert len(skel.links) == 0


@pytest.mark.kernel
@doors
def test_closing_gives_everything_back(door: Door) -> None:
    skel = door(compiled(DATA))
    skel.load()
    view = skel.bss
    skel.close()
    skel.close()
    view.runs = 3  # what the user still holds stays mapped
    assert view.runs == 3
    assert isinstance(Fd(-1), Fd)


@pytest.mark.kernel
@doors
def test_no_sample_is_missed(door: Door) -> None:
    """Those sent between `attach` and the first read are there; perf buffers are opened before."""
    source = """
    struct { __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __uint(key_size, 4);
             __uint(value_size, 4); } samples SEC(".maps");
    int sent;
    SEC("raw_tp/sys_enter") int p(void *ctx)
    {
        int number = __sync_fetch_and_add(&sent, 1);
        if (number < 5)
            bpf_perf_event_output(ctx, &samples, BPF_F_CURRENT_CPU, &number, 4);
        return 0;
    }
    """
    with door(compiled(source)) as skel:
        skel.attach()
        deadline = time.monotonic() + 5
        while skel.bss.sent < 5 and time.monotonic() < deadline:
            time.sleep(0.001)
        received = [int.from_bytes(raw[:4], sys.byteorder) for raw in skel.maps.samples.consume()]
        assert set(received) >= set(range(5))
    with door(compiled(source)) as skel:
        skel.maps.samples.pages = 0
        skel.attach()
        with pytest.raises(UsageError, match="'samples' has no buffers"):
            list(skel.maps.samples.consume())


@pytest.mark.kernel
@doors
def test_running_a_program(door: Door) -> None:
    source = """
    struct args { int in, out; };
    SEC("tc") int length(struct __sk_buff *skb) { return skb->len; }
    SEC("syscall") int twice(struct args *args) { args->out = 2 * args->in; return args->in; }
    """
    with door(compiled(source)) as skel:
        skel.load()
        ran = skel.progs.length.run(bytes(100), repeat=10)
        assert ran.value == 100 and ran.data == bytes(100) and ran.duration >= 0
        ran = skel.progs.twice.run(ctx=struct.pack("=ii", 21, 0))
        assert ran.value == 21 and struct.unpack("=ii", ran.ctx) == (21, 42)


@pytest.mark.kernel
@pytest.mark.parametrize("embedded", [True, False])
def test_opening_a_map_that_exists(embedded: bool) -> None:
    skeleton = skeleton_class(compiled(DATA), embed=embedded)
    module = sys.modules[skeleton.__module__]
    with skeleton() as skel:
        skel.load()
        skel.maps.seen[(1, 2, b"key")] = 3
        number = map_id(skel.maps.seen)
        again = module.HashMap.open(number, module.limits, module.u64)
        assert again[(1, 2, b"key")] == 3
        again.close()
        with pytest.raises(module.UsageError, match="its values have 8 bytes, expected 4"):
            module.HashMap.open(number, module.limits, module.enum(module.mode, module.u32))
        with pytest.raises(
            module.UsageError, match="is of type array, which HashMap does not support"
        ):
            module.HashMap.open(map_id(skel.maps.bss), module.limits, module.u64)


@pytest.mark.kernel
@doors
def test_types_that_the_kernel_is_not_told(door: Door) -> None:
    source = """
    struct job { int number; char name[12]; };
    struct { __uint(type, BPF_MAP_TYPE_QUEUE); __uint(max_entries, 4);
             __type(value, struct job); } jobs SEC(".maps");
    SEC("tc") int p(void *ctx)
    { struct job job = {}; bpf_map_pop_elem(&jobs, &job); return job.number; }
    """
    with door(compiled(source)) as skel:
        skel.load()
        skel.maps.jobs.push((7, b"seven"))
        assert skel.maps.jobs.peek().name == b"seven"
        assert skel.progs.p.run(bytes(14)).value == 7
        assert not skel.maps.jobs


@doors
def test_nothing_else_can_be_set(door: Door) -> None:
    with door(compiled(DATA)) as skel:
        with pytest.raises(AttributeError, match=r"no map 'sen'.*seen"):
            skel.maps.sen = {}
        with pytest.raises(AttributeError, match="map 'seen' cannot be replaced"):
            skel.maps.seen = {}
        with pytest.raises(AttributeError, match="no attribute 'rodat'"):
            skel.rodat = 1
        with pytest.raises(UsageError, match="holds variables"):
            skel.maps.bss.max_entries = 2
    with (
        door(
            compiled(
                'extern int CONFIG_HZ __kconfig; SEC("tc") int p(void *ctx) { return CONFIG_HZ; }'
            )
        ) as skel,
        pytest.raises(AttributeError, match=r"maps.kconfig.configured to override it"),
    ):
        skel.kconfig.CONFIG_HZ = 3


@doors
def test_names_of_maps(door: Door) -> None:
    """Those of Python's own arguments and of the skeleton's methods are names as others."""
    source = """
    struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, int);
             __type(value, int); } self SEC(".maps"), load SEC(".maps");
    SEC("tc") int attach(void *ctx)
    { int key = 0; return bpf_map_lookup_elem(&self, &key) && bpf_map_lookup_elem(&load, &key); }
    """
    with door(compiled(source)) as skel:
        assert {made.name for made in skel.maps} == {"self", "load"}
        assert skel.maps["self"] is skel.maps.self and skel.progs.attach.name == "attach"
        skel.progs.attach.target = "somewhere"
        with pytest.raises(UsageError, match="'attach' takes no target"):
            skel.load()


@pytest.mark.parametrize("name", ["None", "true", "class", "1x", "a-b", "Maps", "str"])
def test_names_of_objects(name: str) -> None:
    made = skeleton_class(compiled(DATA, name))
    assert made.__name__.isidentifier() and made().progs.count.name == "count"


@pytest.mark.kernel
def test_ctrl_c_while_loading(tmp_path: Path) -> None:
    """It comes when the load is complete: no fd is without an owner."""
    (tmp_path / "data_lskel.py").write_text(generate_python(compiled(DATA), "Data"))
    script = """
import os, signal, sys
from data_lskel import Data
Data().close()
before, interrupted = len(os.listdir("/proc/self/fd")), 0
for number in range(300):
    skel = Data()
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.00001 * (number % 100 + 1))
            skel.load()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        interrupted += 1
    skel.close()
print(interrupted, len(os.listdir("/proc/self/fd")) - before)
"""
    prelude = "import signal; signal.signal(signal.SIGALRM, signal.default_int_handler)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", prelude + script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    interrupted, left = map(int, done.stdout.split())
    assert left == 0 and interrupted > 0


# -- the examples ----------------------------------------------------------------------------------


@pytest.mark.kernel
def test_hello(tmp_path: Path) -> None:
    assert re.fullmatch(r"\d+ system calls, the last by .+\n", run_example("hello", tmp_path))


@pytest.mark.kernel
def test_syscount(tmp_path: Path) -> None:
    lines = run_example("syscount", tmp_path).splitlines()
    assert lines and all(re.fullmatch(r" *\d+ +\d+ .+", line) for line in lines)
    counts = [int(line.split()[0]) for line in lines]
    assert counts == sorted(counts, reverse=True)


@pytest.mark.kernel
def test_execsnoop(tmp_path: Path) -> None:
    with running("execsnoop", tmp_path) as lines:
        assert next(lines).split() == ["PID", "PPID", "UID", "PROGRAM"]
        child = subprocess.Popen(["/bin/true"])
        child.wait()
        line = next(line for line in lines if line.split()[0] == str(child.pid))
        assert line.split()[1:] == [str(os.getpid()), str(os.geteuid()), "/bin/true"]


@pytest.mark.kernel
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_tcpconnlat(address: str, tmp_path: Path) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with running("tcpconnlat", tmp_path) as lines, socket.socket(family) as server:
        next(lines)
        server.bind((address, 0))
        server.listen()
        port = server.getsockname()[1]
        socket.create_connection((address, port)).close()
        line = next(line for line in lines if line.endswith(f" {address} port {port}\n"))
        assert line.split()[0] == str(os.getpid()) and float(line.split()[-4]) > 0


@pytest.mark.kernel
@pytest.mark.parametrize("name", ["iptop", "xdpcount"])
def test_packets(name: str, tmp_path: Path) -> None:
    """On the loopback device of a network of its own."""
    script = skeleton_of(name, tmp_path)
    done = subprocess.run(
        ["unshare", "-n", "sh", "-c", IN_NETWORK, "sh", sys.executable, str(script)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    expected = {
        "iptop": r"127\.0\.0\.1 +50 +7100 +7100\n",
        "xdpcount": "udp +50 packets +7100 bytes",
    }
    assert re.search(expected[name], done.stdout), done.stdout


# 50 datagrams of 142 bytes with their headers.
IN_NETWORK = """
ip link set lo up
"$1" -S "$2" lo 1.5 &
sleep 1
"$1" -c '
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out, \\
     socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as into:
    into.bind(("127.0.0.1", 0))
    for _ in range(50):
        out.sendto(bytes(100), into.getsockname())
'
wait
"""


def skeleton_of(name: str, directory: Path) -> Path:
    """An example as a user copies it: its script and its skeleton."""
    loader = lskel.generate(lskel.open_object(example(name)), "auto")
    (directory / f"{name}_lskel.py").write_text(generate_python(loader))
    script = directory / f"{name}.py"
    script.write_text((EXAMPLES / script.name).read_text())
    return script


def run_example(name: str, directory: Path, *args: str) -> str:
    """What an example prints."""
    done = subprocess.run(
        [sys.executable, "-S", "-E", str(skeleton_of(name, directory)), *args],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def running(name: str, directory: Path) -> Iterator[Iterator[str]]:
    """The lines of an example as they come; at the end Ctrl-C, which it takes well."""
    command = [sys.executable, "-S", "-E", str(skeleton_of(name, directory))]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        try:
            yield iter(process.stdout.readline, "")
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0 and process.stderr.read() == ""


def test_examples_are_checked(tmp_path: Path) -> None:
    """mypy, strictly, on each example with its skeleton."""
    names = sorted(path.name.partition(".")[0] for path in EXAMPLES.glob("*.bpf.o"))
    scripts = [str(skeleton_of(name, tmp_path)) for name in names]
    assert len(scripts) == 7
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", *scripts],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_the_module_says_what_it_is() -> None:
    module = module_of(compiled(DATA))
    assert module.__doc__ is not None and "raw_tp/sys_enter" in module.__doc__


def test_what_has_no_loader_cannot_be_loaded() -> None:
    skel = skeleton_class(compiled('SEC("?no such") int p(void *c) { return 0; }'))()
    with pytest.raises(
        UsageError, match="'p' cannot be loaded: the loader was generated without it"
    ):
        skel.progs.p.autoload = True
    skel.progs.p.autoload = False
