"""What libbpf lets a program set before the load, by every door; compared with libbpf."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import lskel
from lskel.bpf.enums import AttachType, Cmd, MapType, ProgType
from lskel.bpf.flags import MapFlag, ProgFlag
from lskel.btf import types as t
from lskel.btf.btf import Btf
from lskel.cli import main
from lskel.errors import (
    BadBundle,
    LskelError,
    NotFound,
    NotSupported,
    ReadOnly,
    ReplayError,
    UsageError,
)
from lskel.loader.bundle import dump
from lskel.loader.generate import generate_form
from lskel.loader.model import Bytes, Form, Loader
from lskel.replay.options import Options
from lskel.replay.settled import settled
from lskel.replay.simulator.run import run
from lskel.runtime.info import btf_info
from lskel.runtime.maps.hash import HashMap
from lskel.runtime.maps.perfbuf import PerfBufferMap
from lskel.runtime.maps.ringbuf import RingBufferMap
from lskel.runtime.objects import ObjectKind, by_id
from lskel.runtime.syscall import BpfError
from tests.build.clang import compile_bpf
from tests.build.gcc import compile_c
from tests.conftest import Run
from tests.skeleton.modules import by_module

SOURCE = """
struct pair { int a, b; };
struct event { int key; };
const volatile int limits[2] = { 3, 4 };
struct event shown = { 1 }; int seen = 1; int counts[2]; int totals[2];
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 4);
         __type(key, int); __type(value, struct pair); } pairs SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 4);
         __type(key, struct pair); __type(value, long); } by_pair SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } events SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_STACK_TRACE); __uint(max_entries, 64);
         __uint(key_size, 4); __uint(value_size, 8); } stacks SEC(".maps");
struct { __uint(type, 30); __uint(max_entries, 4); /* a bloom filter */
         __type(value, int); } filter SEC(".maps");
struct inner { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 1);
               __type(key, int); __type(value, int); };
struct { __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS); __uint(max_entries, 2); __type(key, int);
         __array(values, struct inner); } outer SEC(".maps");
SEC("xdp") int drop(void *ctx)
{ struct pair two[2] = {}; int key = limits[1]; counts[0] += key; totals[1]++; seen++;
  bpf_map_peek_elem(&filter, &key); bpf_map_lookup_elem(&outer, &key);
  bpf_map_lookup_elem(&by_pair, two);
  return bpf_map_lookup_elem(&pairs, &key) ? 1 : 2; }
SEC("raw_tp/sys_enter") int enter(void *ctx)
{ struct event event = {}; int zero = 0;
  bpf_get_stackid(ctx, &stacks, 0);
  if (limits[0] == 3) bpf_ringbuf_output(&events, &event, sizeof(event), 0);
  else bpf_perf_event_output(ctx, &events, 0xffffffff, &event, sizeof(event));
  return 0; }
SEC("tp_btf/placeholder") int leave(void *ctx) { return 0; }
"""


class Setting(NamedTuple):
    """An attribute of a map or program; `number` is what libbpf's setter takes."""

    of: str
    name: str
    attribute: str
    value: Any
    number: Any = None

    @property
    def words(self) -> list[str]:
        """As tests/collection/settings.c takes it."""
        return [self.of, self.name, self.attribute, str(self.number or int_or(self.value))]


def int_or(value: Any) -> Any:
    return int(value) if isinstance(value, bool) else value


# Without it nothing loads: no such tracepoint exists.
EXISTS = Setting("prog", "leave", "target", "sys_exit")
CASES: dict[str, tuple[Setting, ...]] = {
    "a target instead of the section's": (),
    "value_size": (Setting("map", "stacks", "value_size", 127 * 8),),
    "value_size, so that its type does not fit": (Setting("map", "pairs", "value_size", 24),),
    "key_size": (Setting("map", "by_pair", "key_size", 16),),
    "max_entries": (Setting("map", "pairs", "max_entries", 77),),
    "map_flags": (Setting("map", "pairs", "map_flags", "no_prealloc", MapFlag.NO_PREALLOC),),
    "map_extra": (Setting("map", "filter", "map_extra", 7),),
    "numa_node": (
        Setting("map", "pairs", "map_flags", MapFlag.NUMA_NODE),
        Setting("map", "pairs", "numa_node", 0),
    ),
    "hash to LRU hash": (Setting("map", "pairs", "type", "lru_hash", int(MapType.LRU_HASH)),),
    "hash to array": (Setting("map", "pairs", "type", "array", int(MapType.ARRAY)),),
    "hash to per-CPU array": (
        Setting("map", "pairs", "type", MapType.PERCPU_ARRAY, int(MapType.PERCPU_ARRAY)),
    ),
    "ring buffer, rounded": (Setting("map", "events", "max_entries", 5000),),
    "without a program": (Setting("prog", "enter", "autoload", False),),
    "without a map": (
        Setting("map", "stacks", "autocreate", False),
        Setting("prog", "enter", "autoload", False),
    ),
    "type and attach type": (
        Setting("prog", "drop", "type", "socket_filter", int(ProgType.SOCKET_FILTER)),
        Setting("prog", "drop", "expected_attach_type", 0),
    ),
}
TOOL = Path(__file__).with_name("settings.c")


def put(bpf: Any, settings: tuple[Setting, ...]) -> None:
    for setting in settings:
        owner = (bpf.maps if setting.of == "map" else bpf.progs)[setting.name]
        *path, attribute = setting.attribute.split(".")
        for name in path:
            owner = getattr(owner, name)
        setattr(owner, attribute, setting.value)


@contextmanager
def refused(error: type[LskelError], match: str) -> Iterator[None]:
    """By an error of this class; a module that carries its runtime has its own."""
    with pytest.raises(Exception, match=match) as raised:
        yield
    assert type(raised.value).__name__ == error.__name__


def options_of(settings: tuple[Setting, ...]) -> dict[str, dict[str, dict[str, Any]]]:
    found: dict[str, dict[str, dict[str, Any]]] = {"maps": {}, "programs": {}}
    for setting in settings:
        owner = found["maps" if setting.of == "map" else "programs"].setdefault(setting.name, {})
        *path, attribute = setting.attribute.split(".")
        for name in path:
            owner = owner.setdefault(name, {})
        owner[attribute] = setting.value
    return found


def by_attributes(opened: Callable[[Loader], Any]) -> Callable[[Loader, Any], Any]:
    def door(loader: Loader, settings: tuple[Setting, ...]) -> Any:
        bpf = opened(loader)
        put(bpf, settings)
        return bpf

    return door


DOORS: dict[str, Callable[[Loader, Any], Any]] = {
    "load": by_attributes(lskel.load),
    "unrolled": by_attributes(
        lambda loader: lskel.load(generate_form(loader.trace, Form.UNROLLED))
    ),
    "direct": by_attributes(lambda loader: lskel.load(loader, direct=True)),
    "bundle": by_attributes(lambda loader: lskel.load(dump(loader))),
    "module": by_attributes(by_module),
    "module with its runtime": by_attributes(lambda loader: by_module(loader, embed=True)),
    "options": lambda loader, settings: lskel.load(loader, **options_of(settings)),  # type: ignore[arg-type]
}


@pytest.fixture(scope="module")
def loader() -> Loader:
    return lskel.generate(lskel.open_object(compile_bpf(SOURCE), "test"), Form.TABLE)


@pytest.fixture(scope="module")
def libbpf(tmp_path_factory: pytest.TempPathFactory) -> Callable[[tuple[Setting, ...]], set[str]]:
    """The infos of maps and programs after libbpf loaded the object with settings."""
    directory = tmp_path_factory.mktemp("libbpf")
    tool = compile_c(TOOL.read_text(), directory / "settings", "-lbpf")
    obj = directory / "test.bpf.o"
    obj.write_bytes(compile_bpf(SOURCE))

    def load(settings: tuple[Setting, ...]) -> set[str]:
        words = [word for setting in settings for word in setting.words]
        done = subprocess.run([tool, obj, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return set(done.stdout.splitlines())

    return load


def infos(bpf: Any) -> Iterator[str]:
    """As tests/collection/settings.c prints them."""
    for made in bpf.maps:
        if made.autocreate:
            i = made.info()
            numbers = (i.type, i.key_size, i.value_size, i.max_entries, i.flags, i.map_extra)
            types = (i.btf_key_type_id, i.btf_value_type_id)
            yield " ".join(map(str, ("map", made.name, *numbers, *types)))
    for program in bpf.progs:
        if program.loaded:
            info = program.info()
            yield f"prog {program.name} {info.type} {info.attach_btf_id}"


@pytest.mark.kernel
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("case", CASES)
def test_as_libbpf_does(case: str, door: str, loader: Loader, libbpf: Any) -> None:
    settings = (EXISTS, *CASES[case])
    with DOORS[door](loader, settings) as bpf:
        bpf.load()
        assert set(infos(bpf)) == libbpf(settings)


@pytest.mark.kernel
@pytest.mark.parametrize("case", CASES)
def test_by_the_command_line(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], libbpf: Any
) -> None:
    """By `lskel load`, and, where that is possible, in a bundle that needs no more settings."""
    obj = tmp_path / "test.bpf.o"
    obj.write_bytes(compile_bpf(SOURCE))
    settings = (EXISTS, *CASES[case])
    options = [
        part
        for s in settings
        for part in (
            "--map" if s.of == "map" else "--prog",
            f"{s.name}.{s.attribute}={'n' if s.value is False else s.value}",
        )
    ]
    assert main(["load", str(obj), "--json", *options]) == 0
    found = json.loads(capsys.readouterr().out)
    said = {("map", m["name"]) for m in found["maps"]}
    said |= {("prog", p["name"]) for p in found["programs"]}
    expected = libbpf(settings)
    assert said == {tuple(line.split()[:2]) for line in expected}
    bundle = tmp_path / "test.lskel"
    if any(s.attribute == "autocreate" for s in settings):
        return
    assert main(["gen", str(obj), "-o", str(bundle), *options]) == 0
    with lskel.load(bundle) as bpf:
        bpf.load()
        assert set(infos(bpf)) == expected


OTHER: tuple[tuple[Setting, ...], ...] = (
    (Setting("prog", "drop", "flags", "xdp_has_frags|test_rnd_hi32"),),
    (Setting("prog", "leave", "expected_attach_type", "trace_fexit"),),
    (Setting("prog", "drop", "type", ProgType.SCHED_CLS),),
    (Setting("map", "events", "type", "perf_event_array"),),
    (Setting("map", "events", "type", "user_ringbuf"),),
    (Setting("map", "pairs", "numa_node", 3), Setting("map", "pairs", "map_flags", 4)),
    (Setting("map", "outer", "inner_map.type", "array"),),
    (
        Setting("map", "outer", "inner_map.max_entries", 9),
        Setting("map", "outer", "inner_map.value_size", 16),
    ),
    (Setting("map", "outer", "type", "hash_of_maps"), Setting("map", "outer", "max_entries", 8)),
)


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("settings", [*CASES.values(), *OTHER], ids=str)
def test_as_a_loader_that_has_them(
    form: Form, settings: tuple[Setting, ...], loader: Loader
) -> None:
    """A loader that is told makes the calls of one that was generated from a trace with them."""
    settings = tuple(s for s in settings if s.attribute != "autocreate")
    told = generate_form(loader.trace, form)
    options = Options(**options_of((EXISTS, *settings)))  # type: ignore[arg-type]
    has = generate_form(settled(loader.trace, options), form)
    calls = [
        [(record.cmd, dict(record.attr)) for record in run(*item).records if record.cmd in _SEEN]
        for item in ((told, options), (has, Options()))
    ]
    ids = ("attach_btf_id", "attach_prog_fd", "attach_btf_obj_fd")
    for cmd, attr in (call for made in calls for call in made):
        if cmd is Cmd.PROG_LOAD and attr["prog_name"] == "leave":
            assert attr.get("attach_btf_id")  # of a simulated kernel: any
            for field in ids:
                attr.pop(field, None)
        if cmd is Cmd.MAP_CREATE and not attr["btf_key_type_id"] and not attr["btf_value_type_id"]:
            attr.pop("btf_fd")  # which the kernel does not look at
    assert calls[0] == calls[1]


_SEEN = (Cmd.MAP_CREATE, Cmd.PROG_LOAD, Cmd.MAP_UPDATE_ELEM, Cmd.MAP_FREEZE)


def attrs_of(bpf_name: str, loader: Loader, settings: Mapping[str, Any]) -> Mapping[str, Any]:
    done = run(loader, Options(programs={bpf_name: settings, "leave": {"target": "x"}}))
    loads = [record.attr for record in done.records if record.cmd is Cmd.PROG_LOAD]
    return next(attr for attr in loads if attr["prog_name"] == bpf_name)


def test_flags_and_attach_types_go_to_the_kernel(loader: Loader) -> None:
    attr = attrs_of("drop", loader, {"flags": "xdp_has_frags"})
    assert attr["prog_flags"] == ProgFlag.XDP_HAS_FRAGS
    attr = attrs_of("drop", loader, {"expected_attach_type": "xdp_cpumap"})
    assert attr["expected_attach_type"] == AttachType.XDP_CPUMAP
    assert attrs_of("drop", loader, {"type": "sched_cls"})["prog_type"] == ProgType.SCHED_CLS


# -- consequences ---------------------------------------------------------------------------------


@pytest.mark.kernel
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("ring", [True, False])
def test_a_buffer_by_kernel(door: str, ring: bool, loader: Loader) -> None:
    """The same program sends to a ring buffer, or to a perf buffer."""
    settings: tuple[Setting, ...] = (EXISTS,)
    if not ring:
        settings += (
            Setting("map", "events", "type", "perf_event_array"),
            Setting("map", "events", "max_entries", 0),
        )
    with DOORS[door](loader, settings) as bpf:
        events = bpf.maps.events
        names = [cls.__name__ for cls in type(events).__mro__]
        assert (RingBufferMap if ring else PerfBufferMap).__name__ in names
        bpf.rodata.limits[0] = 3 if ring else 4
        bpf.progs.enter.attach()
        if not ring:
            events.listen()
        assert events.info().max_entries == (4096 if ring else lskel_cpus())
        assert next(events.events(timeout=5)).key == 0


def lskel_cpus() -> int:
    from lskel.runtime.cpus import possible_cpus

    return len(possible_cpus())


@pytest.mark.kernel
@pytest.mark.parametrize("door", DOORS)
def test_values_follow_sizes(door: str, loader: Loader) -> None:
    wide = (EXISTS, Setting("map", "pairs", "value_size", 12))
    with DOORS[door](loader, wide) as bpf:
        bpf.load()
        bpf.maps.pairs[1] = b"twelve bytes"
        assert dict(bpf.maps.pairs.items()) == {1: b"twelve bytes"}
    array = (EXISTS, Setting("map", "pairs", "type", "array"))
    with DOORS[door](loader, array) as bpf:
        bpf.load()
        bpf.maps.pairs[3] = (5, 6)
        assert bpf.maps.pairs[3].b == 6 and len(bpf.maps.pairs) == 4


def test_types_come_back(loader: Loader) -> None:
    bpf = lskel.load(loader)
    pairs = bpf.maps.pairs
    declared = pairs.value_type
    pairs.value_size = 4
    pairs.type = "percpu_hash"
    assert pairs.value_type is not declared and type(pairs).__name__ == "PerCpuHash"
    pairs.type, pairs.value_size = "hash", 8
    assert pairs.value_type is declared and type(pairs) is HashMap and pairs is bpf.maps.pairs
    request = pairs.request(lskel.SimulatedMachine(), "little")
    assert not request.attr and not request.max_entries


def last_variable(loader: Loader, map_name: str) -> tuple[str, int]:
    """The last variable of a section, and its offset: where the compiler places it."""
    assert loader.trace.btf is not None
    btf = Btf(loader.trace.btf)
    slot = next(n for n, made in enumerate(loader.trace.maps) if made.name == map_name)
    section = btf.get(t.TypeId(loader.trace.map_create(slot).value_type), t.Datasec)
    last = section.vars[-1]
    return btf.get(last.type, t.Var).name, last.offset


@pytest.mark.kernel
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("section", ["bss", "rodata"])
def test_a_section_grows(door: str, section: str, loader: Loader, reference: Run) -> None:
    """Its last array has as many elements, for Python, for the kernel, and in its BTF."""
    name = f"test.{section}"
    last, first = last_variable(loader, name)
    size = first + 4 * 100
    with DOORS[door](loader, (EXISTS, Setting("map", name, "value_size", size))) as bpf:
        array = getattr(getattr(bpf, section), last)
        assert len(array) == 100
        array[99] = 7
        if section == "rodata":
            assert list(array[:3]) == [3, 4, 0]
        bpf.load()
        array = getattr(getattr(bpf, section), last)
        assert (len(array), array[99]) == (100, 7)
        made = bpf.maps[name]
        info = made.info()
        assert info.value_size == size and info.btf_value_type_id
        with by_id(ObjectKind.BTF, info.btf_id) as fd:
            btf = Btf(btf_info(fd.fileno(), data=True).data)
        datasec = btf.get(t.TypeId(info.btf_value_type_id), t.Datasec)
        assert datasec.size == size and datasec.vars[-1].size == 400
        shown = json.loads(reference("-j", "map", "dump", "id", info.id))
        (value,) = shown[0]["formatted"]["value"].values()
        assert next(v for v in value if last in v)[last][99] == 7
        if section == "rodata":
            with refused(ReadOnly, "before load"):
                bpf.rodata.limits = array


@pytest.mark.kernel
@pytest.mark.parametrize("door", DOORS)
def test_a_section_whose_array_does_not_fit_has_no_types(door: str, loader: Loader) -> None:
    """As with libbpf, which warns. Programs use what they know."""
    with DOORS[door](loader, (EXISTS, Setting("map", "test.bss", "value_size", 21))) as bpf:
        bpf.bss.counts = (5, 6)
        bpf.load()
        info = bpf.maps["test.bss"].info()
        assert (info.value_size, info.btf_value_type_id) == (21, 0)
        assert list(bpf.bss.counts) == [5, 6]


def test_a_section_grows_in_the_simulated_kernel(loader: Loader) -> None:
    with lskel.load(loader, kernel=lskel.SimulatedMachine()) as bpf:
        bpf.progs.leave.target = "any"
        last, first = last_variable(loader, "test.bss")
        bpf.maps["test.bss"].value_size = first + 4 * 5
        setattr(bpf.bss, last, [1, 2, 3, 4, 5])
        bpf.load()
        assert list(getattr(bpf.bss, last)) == [1, 2, 3, 4, 5]


@pytest.mark.kernel
@pytest.mark.parametrize("door", DOORS)
def test_pin_path(door: str, loader: Loader, bpffs: Path) -> None:
    path = bpffs / "new" / "pairs"
    settings = (EXISTS, Setting("map", "pairs", "pin_path", str(path)))
    with DOORS[door](loader, settings) as bpf:
        bpf.load()
        bpf.maps.pairs[1] = (2, 3)
        made = bpf.maps.pairs.info().id
    with DOORS[door](loader, settings) as bpf:
        bpf.load()
        assert bpf.maps.pairs.info().id == made and bpf.maps.pairs[1].b == 3
    other = (*settings, Setting("map", "pairs", "value_size", 16))
    with (
        DOORS[door](loader, other) as bpf,
        refused(UsageError, "value_size 16, pinned 8"),
    ):
        bpf.load()
    dotted = (EXISTS, Setting("map", "pairs", "pin_path", f"{path}.d"))
    with (
        DOORS[door](loader, dotted) as bpf,
        refused(UsageError, r"'pairs': Operation not permitted \(names on a bpffs have no dots\)"),
    ):
        bpf.load()


@pytest.mark.kernel
@pytest.mark.parametrize("door", DOORS)
def test_a_map_that_is_used_but_not_created(door: str, loader: Loader) -> None:
    """It loads where the verifier finds that code not to be reached, as with libbpf."""
    left_out = (EXISTS, Setting("map", "stacks", "autocreate", False))
    with (
        DOORS[door](loader, left_out) as bpf,
        refused(ReplayError, "uses map 'stacks', whose autocreate is False"),
    ):
        bpf.load()
    with DOORS[door](loader, (*left_out, Setting("prog", "enter", "autoload", False))) as bpf:
        bpf.load()
        with refused(UsageError, "'stacks' is not loaded"):
            bpf.maps.stacks.fileno()
        with refused(ReadOnly, "'stacks' was left out"):
            bpf.maps.stacks.autocreate = True
        with refused(ReadOnly, "'enter' was left out"):
            bpf.progs.enter.autoload = True


DEAD = """
const volatile _Bool has_stacks = 1;
struct { __uint(type, BPF_MAP_TYPE_STACK_TRACE); __uint(max_entries, 64);
         __uint(key_size, 4); __uint(value_size, 8); } stacks SEC(".maps");
SEC("raw_tp/sys_enter") int enter(void *ctx)
{ return has_stacks ? bpf_get_stackid(ctx, &stacks, 0) : 0; }
"""


@pytest.mark.kernel
@pytest.mark.parametrize("door", DOORS)
def test_dead_code_may_use_it(door: str) -> None:
    loader = lskel.generate(lskel.open_object(compile_bpf(DEAD), "test"))
    settings = (Setting("map", "stacks", "autocreate", False),)
    with DOORS[door](loader, settings) as bpf:
        bpf.rodata.has_stacks = False
        bpf.load()
        assert bpf.progs.enter.loaded


@pytest.mark.kernel
@pytest.mark.parametrize("door", DOORS)
def test_the_log_of_a_program(door: str, loader: Loader) -> None:
    level = Setting("prog", "drop", "log_level", 2)
    with DOORS[door](loader, (EXISTS, level)) as bpf:
        assert bpf.progs.drop.log == ()
        bpf.load()
        log = bpf.progs.drop.log
        assert any(line.startswith("processed ") for line in log) and any(
            "call bpf_map_peek_elem" in line for line in log
        )
        assert bpf.progs.enter.log == ()


@pytest.mark.kernel
def test_a_target_that_does_not_exist(loader: Loader) -> None:
    said = set()
    for door in DOORS.values():
        with door(loader, (Setting("prog", "leave", "target", "no_such"),)) as bpf:
            with pytest.raises(Exception, match="no typedef") as error:
                bpf.load()
            said.add((type(error.value).__name__, str(error.value)))
    what = "test: program 'leave': no typedef 'btf_trace_no_such' in the kernel's BTF"
    assert said == {(NotFound.__name__, what)}


@pytest.mark.kernel
def test_a_failed_load_is_tried_again(loader: Loader) -> None:
    with lskel.load(loader) as bpf:
        bpf.progs.leave.target = "sys_exit"
        bpf.maps.pairs.map_flags = 1 << 31
        with pytest.raises(lskel.ReplayError, match="BPF_MAP_CREATE of map 'pairs': EINVAL"):
            bpf.load()
        bpf.maps.pairs.map_flags = 0
        bpf.load()


@pytest.mark.kernel
def test_inner_maps_like_another(loader: Loader) -> None:
    with lskel.load(loader) as bpf:
        bpf.progs.leave.target = "sys_exit"
        bpf.load()
        with pytest.raises(BpfError, match="EINVAL"):
            bpf.maps.outer[0] = bpf.maps.by_pair
    with lskel.load(loader) as bpf:
        bpf.progs.leave.target = "sys_exit"
        bpf.maps.outer.inner_map = bpf.maps.by_pair
        bpf.load()
        bpf.maps.outer[0] = bpf.maps.by_pair
        with closing(bpf.maps.outer[0]) as inner, closing(bpf.maps.outer.new()) as new:
            assert inner.info().id == bpf.maps.by_pair.info().id
            assert type(inner) is type(new)
            assert new.info()[1:6] == inner.info()[1:6]


# -- refusals -------------------------------------------------------------------------------------


def test_a_bundle_that_is_not_what_its_trace_generates(loader: Loader) -> None:
    """Nothing is set in bytes that nobody knows."""
    blob = bytearray(loader.blob)
    blob[-1] ^= 1
    forged = Loader(
        loader.form,
        loader.trace,
        loader.insns,
        bytes(blob),
        loader.regions,
        loader.status,
        loader.btf,
        loader.func_info,
        Bytes.DIFFERENT,
    )
    with lskel.load(forged, trust_bytes=True, kernel=lskel.SimulatedMachine()) as bpf:
        bpf.progs.leave.target = "sys_exit"
        bpf.maps.pairs.value_size = 16
        with pytest.raises(UsageError, match="the bytes do not match the description"):
            bpf.load()


def test_gen_does_not_replace_such_bytes(loader: Loader) -> None:
    from lskel.cli.gen import with_settings

    forged = replace(loader, compared=Bytes.DIFFERENT)
    with pytest.raises(BadBundle, match="settings cannot be changed"):
        with_settings(forged, Options(maps={"pairs": {"value_size": 16}}), debug=False)


@pytest.mark.parametrize(
    "settings",
    [
        {"maps": {"pairs": {"autocreate": False}}},
        {"maps": {"pairs": {"pin_path": "/sys/fs/bpf/x"}}},
        {"programs": {"drop": {"log_level": 1}}},
        {"programs": {"leave": {"target": "id:4:main"}}},
    ],
)
def test_what_only_a_load_can_have(settings: dict[str, Any], loader: Loader) -> None:
    with pytest.raises(UsageError, match="can only be set when it is loaded"):
        settled(loader.trace, Options(**settings))


@pytest.mark.parametrize(
    ("map_name", "settings", "complaint"),
    [
        ("pairs", {"value_size": {"type": "hash"}}, "expected a number, got dict"),
        ("pairs", {"autocreate": {"type": "hash"}}, "got dict"),
        ("pairs", {"pin_path": {"type": "hash"}}, "dict"),
        ("pairs", {"type": "struct_ops"}, "map 'pairs' cannot become a struct of the kernel"),
    ],
)
def test_values_of_the_wrong_kind(
    map_name: str, settings: dict[str, Any], complaint: str, loader: Loader
) -> None:
    with pytest.raises(UsageError, match=complaint):
        lskel.load(loader, kernel=lskel.SimulatedMachine(), maps={map_name: settings})


@pytest.mark.parametrize("form", Form)
def test_autoload_is_the_default_of_what_is_generated(form: Form, loader: Loader) -> None:
    options = Options(programs={"enter": {"autoload": False}, "leave": {"target": "sys_exit"}})
    off = generate_form(settled(loader.trace, options), form)
    on = generate_form(settled(off.trace, Options(programs={"enter": {"autoload": True}})), form)
    for made, is_on in ((off, False), (on, True)):
        for bpf in (lskel.load(made), by_module(made)):
            assert [p.name for p in bpf.progs if p.autoload] == (
                ["drop", "enter", "leave"] if is_on else ["drop", "leave"]
            )
            bpf.close()


def test_a_module_without_the_class(loader: Loader) -> None:
    with by_module(loader, embed=True) as bpf:
        with refused(NotSupported, "lacks the class LpmTrie"):
            bpf.maps.pairs.type = "lpm_trie"
        assert bpf.maps.pairs.type == MapType.HASH


UNTYPED = 'SEC("mine") int own(void *ctx) { return 0; }'


@pytest.mark.parametrize("wanted", ["sk_skb", ProgType.SK_SKB])
def test_a_type_for_a_section_that_has_none(wanted: Any) -> None:
    obj = lskel.open_object(compile_bpf(UNTYPED), "test")
    for unknown in (5000, ["sk_skb"]):
        with pytest.raises(NotSupported, match="no known program type"):
            lskel.load(obj, programs={"own": {"type": unknown}})
    kernel = lskel.SimulatedMachine()
    with lskel.load(obj, programs={"own": {"type": wanted}}, kernel=kernel) as bpf:
        bpf.load()
        assert bpf.progs.own.info().type == ProgType.SK_SKB
