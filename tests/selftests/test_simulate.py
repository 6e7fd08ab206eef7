"""The generator against bpftool's, call by call in the simulator, over the kernel's selftests."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

import lskel
from lskel.bpf import context
from lskel.bpf.attr import object_name
from lskel.bpf.enums import Cmd
from lskel.loader.header import LightSkeleton, parse_header
from lskel.loader.model import Form, Loader
from lskel.replay.compare import differences
from lskel.replay.options import Options
from lskel.replay.simulator.faults import Faults
from lskel.replay.simulator.interpreter.fault import SimulatorFault
from lskel.replay.simulator.kernel import SimulatedKernel
from lskel.replay.simulator.record import CallRecord, RecordedHelper
from lskel.replay.simulator.run import run
from lskel.replay.simulator.simulate import Replay, simulate
from lskel.runtime.cpus import possible_cpus
from lskel.runtime.kconfig import encode_values, this_machine
from lskel.syscalls import call_of
from lskel.trace import AttachFd, BtfLoad, KsymFind, MapCreate, Op, Trace
from tests import corpus
from tests.corpus import Corpus
from tests.selftests.reference import DIFFERENT, OVERFLOW, each_corpus, generated_by_bpftool

pytestmark = [pytest.mark.corpus, pytest.mark.usefixtures("corpus_tools")]

HANDS = 8
# A size for maps that leave theirs to whoever loads them.
SIZE = 4096

NO_TEMPLATE = "a map of maps without inner definition: whoever loads it must supply one"
NO_SIZE = "the size of a map's values is set by whoever loads it"
NO_MAP = "code that names an fd which is not a map's, on purpose"
# Of a section of 16 MiB zeros; bpftool's loader carries them and writes them.
ZEROS = {"test_skeleton": "the kernel makes maps of zeros"}
# Loaders that cannot succeed in any kernel.
_REFUSED = {
    "bloom_filter_bench": NO_SIZE,
    "test_map_in_map": NO_TEMPLATE,
    "test_select_reuseport_kern": NO_TEMPLATE,
}
REFUSED = {
    corpus.V6_1: _REFUSED,
    corpus.V6_12: {
        **_REFUSED,
        **dict.fromkeys(("bpf_hashmap_lookup", "htab_mem_bench"), NO_SIZE),
        **dict.fromkeys(("verifier_cgroup_storage", "verifier_map_ret_val"), NO_MAP),
    },
}


def kernel() -> SimulatedKernel:
    # bpftool writes the number of CPUs of the machine it runs on into its loaders.
    return SimulatedKernel("little", cpus=len(possible_cpus()))


def simulate_sized(skeleton: LightSkeleton, names: list[str]) -> tuple[Replay, dict[str, int]]:
    """Replay bpftool's loader; maps without a size get one, by name, as their user would.

    `names` are those of the maps, in the order of the context.
    """
    sizes: dict[str, int] = {}
    while True:
        ctx = bytearray(skeleton.context_size)
        for name, entries in sizes.items():
            offset = context.max_entries(names.index(name))
            ctx[offset : offset + 4] = entries.to_bytes(4, "little")
        replay = simulate(skeleton.insns, skeleton.blob, bytes(ctx), "little", kernel=kernel())
        refused = [r for r in replay.records if r.cmd == Cmd.MAP_CREATE and r.failed]
        if replay.value == 0 or not refused or refused[0].attr["max_entries"]:
            return replay, sizes
        cut = refused[0].attr["map_name"]
        name = next((name for name in names if name[:15] == cut), "")
        if not name or name in sizes:
            return replay, sizes
        sizes[name] = SIZE


def kconfig_of(trace: Trace) -> dict[str, bytes]:
    """The value of the map .kconfig on this machine, which bpftool writes into its loaders."""
    if trace.kconfig is None:
        return {}
    slot, size, variables = trace.kconfig
    return {trace.maps[slot].name: encode_values(variables, size, this_machine(), trace.order)}


@each_corpus
@pytest.mark.parametrize("hand", range(HANDS))
def test_as_bpftool(of: Corpus, hand: int) -> None:
    wrong = []
    compared = 0
    for path, header in sorted(generated_by_bpftool(of).items())[hand::HANDS]:
        opened = lskel.open_object(path)
        skeleton = parse_header(header)
        loader = lskel.generate(opened)
        if path.stem in OVERFLOW[of]:
            assert len(opened.programs) > 32
            with pytest.raises(SimulatorFault, match=r"stack of frame 0 has 512 bytes.*offset 512"):
                simulate_sized(skeleton, [])
            continue
        theirs, sizes = simulate_sized(skeleton, [made.name for made in opened.maps])
        if (theirs.value != 0) != (path.stem in REFUSED[of]):
            wrong.append(f"{path.name}: bpftool's loader returns {theirs.value}")
        options = Options(max_entries=sizes, initial=kconfig_of(loader.trace))
        ours = run(loader, options, kernel=kernel())
        if (theirs.value != 0) != (ours.value != 0):
            wrong.append(f"{path.name}: returns {ours.value}, bpftool's {theirs.value}")
        if path.stem in REFUSED[of]:
            continue
        found = [str(difference) for difference in differences(theirs.records, ours.records)]
        if bool(found) != (path.stem in DIFFERENT[of].keys() | ZEROS.keys()):
            wrong.append(f"{path.name}: {found[:3]}")
        compared += 1
    print(f"{compared} objects make the same calls as bpftool's loaders")
    assert not wrong
    assert compared >= 45


@each_corpus
def test_lists_are_of_real_objects(of: Corpus) -> None:
    names = {path.stem for path in generated_by_bpftool(of)}
    assert REFUSED[of].keys() | DIFFERENT[of].keys() | OVERFLOW[of] | ZEROS.keys() <= names


def simulated(count: int, form: Form) -> Iterator[tuple[Path, Loader, Replay]]:
    """Loaders of about so many objects of all kinds, with their replays without faults."""
    paths = corpus.objects()
    for path in paths[:: max(1, len(paths) // count)]:
        try:
            loader = lskel.generate(lskel.open_object(path), form)
        except lskel.LskelError:
            continue
        if any(isinstance(asked, AttachFd) for asked in loader.trace.inputs):
            continue  # needs a program that it attaches to
        whole = run(loader, kernel=kernel())
        if whole.value == 0:
            yield path, loader, whole


def replay_with(loader: Loader, faults: Faults) -> Replay:
    cpus = len(possible_cpus())
    return run(loader, kernel=SimulatedKernel("little", faults=faults, cpus=cpus))


@pytest.mark.parametrize("form", Form)
def test_every_failure_is_clean(form: Form) -> None:
    """Make each call of each loader fail in turn: it returns that error and no fd stays open."""
    tried = calls = 0
    for path, loader, whole in simulated(60, form):
        tried += 1
        for record in whole.records:
            replay = replay_with(loader, Faults(calls={record.n: errno.EIO}))
            if record.cmd is RecordedHelper.CLOSE:
                assert replay.value == 0  # Linux closes all the same
                continue
            if does_without(loader, record):
                assert replay.value == 0
                continue
            calls += 1
            assert replay.value == -errno.EIO, f"{path.name}: call {record.n}"
            assert not replay.open_fds, f"{path.name}: call {record.n} leaves {replay.open_fds}"
            number = replay.failed_op(loader)
            assert number is not None
            assert makes(loader.trace.ops[number]) == record.cmd
    print(f"{calls} failures in the loaders of {tried} objects")
    assert tried >= 30


def does_without(loader: Loader, record: CallRecord) -> bool:
    """Whether the call is about BTF that nothing needs: the loader goes on where it fails."""
    for op in loader.trace.ops:
        if record.cmd == Cmd.BTF_LOAD and isinstance(op, BtfLoad):
            return not op.needed_by
        if isinstance(op, MapCreate) and object_name(op.name).decode() == record.attr.get(
            "map_name"
        ):
            return op.btf_is_optional
    return False


def makes(op: Op) -> Cmd | RecordedHelper:
    """The call that an operation makes."""
    call = call_of(op, "little")
    if call is not None:
        return call.cmd
    return RecordedHelper.KALLSYMS if isinstance(op, KsymFind) else RecordedHelper.BTF_FIND


@pytest.mark.parametrize("form", Form)
def test_out_of_fds(form: Form) -> None:
    """However few fds there are, the loader reports EMFILE and closes what it made."""
    tried = 0
    for path, loader, whole in simulated(60, form):
        tried += 1
        for limit in range(len(whole.open_fds)):
            replay = replay_with(loader, Faults(max_fds=limit))
            assert replay.value == -errno.EMFILE, f"{path.name}: {limit} fds"
            assert not replay.open_fds
    assert tried >= 30
