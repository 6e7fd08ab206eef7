"""Whether a bundle's bytes are what its description generates, and what may run."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

import lskel
from lskel.bpf.enums import Cmd
from lskel.errors import BadBundle, LskelError, ReplayError
from lskel.loader.blob import MAX_SIZE
from lskel.loader.bundle import BLOB, DESCRIPTION, INSNS, dump, load
from lskel.loader.model import Bytes, Form, Loader
from lskel.loader.verify import in_form, regenerated
from lskel.replay.kernel import LoaderKernel
from lskel.replay.load import open_loader
from lskel.replay.options import Options
from lskel.replay.trust import check_bytes, check_request, check_trace, with_comparison
from lskel.runtime.loader import run_loader
from lskel.runtime.syscall import BpfError
from lskel.skeleton.generate import Language, SkeletonOptions, render
from tests import corpus
from tests.build.clang import EXAMPLES, compile_bpf
from tests.loader.forged import Members, by_another_version, forge, longer_blob, resize_in_blob
from tests.loader.replays import EXTERNS
from tests.loads import load_by_loader

SOURCE = """
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 10);
         __type(key, int); __type(value, long); } table SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 10);
         __type(key, int); __type(value, int); } other SEC(".maps");
SEC("socket") int prog(struct __sk_buff *skb)
{ int k = 1; return bpf_map_lookup_elem(&table, &k) != bpf_map_lookup_elem(&other, &k); }
SEC("socket") int second(struct __sk_buff *skb) { return 2; }
"""
FORMS = pytest.mark.parametrize("form", list(Form), ids=lambda form: form.value)
TRUSTING = Options(trust_bytes=True)


def bundle(form: Form = Form.TABLE, source: str = SOURCE, *, debug: bool = False) -> bytes:
    obj = lskel.open_object(compile_bpf(source), name="test")
    return dump(lskel.generate(obj, form, debug=debug))


def forged(*changes: Callable[[Members], object], form: Form = Form.TABLE) -> Loader:
    def change(members: Members) -> None:
        for one in changes:
            one(members)

    return load(forge(bundle(form), change))


@FORMS
@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.bpf.o")), ids=lambda p: p.name)
def test_what_lskel_writes_is_the_same(path: Path, form: Form, debug: bool) -> None:
    written = lskel.generate(lskel.open_object(path), form, attach=True, debug=debug)
    assert load(dump(written)).compared is Bytes.SAME
    assert load(dump(load(dump(written)))).compared is Bytes.SAME


@FORMS
def test_what_externs_change_is_the_same(form: Form) -> None:
    assert load(bundle(form, EXTERNS)).compared is Bytes.SAME


@pytest.mark.corpus
@pytest.mark.usefixtures("corpus_tools")
@FORMS
def test_the_whole_corpus_is_the_same(form: Form) -> None:
    compared = 0
    for path in corpus.objects():
        for more in (False, True):
            try:
                loader = lskel.generate(lskel.open_object(path), form, attach=more, debug=more)
            except LskelError:
                continue  # tests/selftests/test_generate.py
            assert load(dump(loader)).compared is Bytes.SAME, path
            compared += 1
    assert compared > len(corpus.objects())


def _flip(member: str, at: int) -> Callable[[Members], None]:
    def change(members: Members) -> None:
        members[member][at] ^= 1

    return change


def _describe(key: str, value: Callable[[Members], object]) -> Callable[[Members], None]:
    def change(members: Members) -> None:
        members[DESCRIPTION][key] = value(members[DESCRIPTION])

    return change


def _swap_slots(kind: str) -> Callable[[Members], None]:
    """Two results change places: each fd would get the other's name."""

    def change(members: Members) -> None:
        results = members[DESCRIPTION][kind]
        results.reverse()
        for slot, result in enumerate(results):
            members[DESCRIPTION]["ops"][result["op"]]["slot"] = slot
        for _, guard in members[DESCRIPTION]["guards"]:
            if guard["subject"] == kind.removesuffix("s"):
                guard["slot"] = 1 - guard["slot"]

    return change


def _lie(op: str, field: str, value: object) -> Callable[[Members], None]:
    def change(members: Members) -> None:
        next(o for o in members[DESCRIPTION]["ops"] if o["op"] == op)[field] = value

    return change


LIES = {
    "instruction": _flip(INSNS, 4),
    "padding": _flip(BLOB, -1),
    "blob": lambda members: resize_in_blob(members, "table", 20),
    "longer blob": longer_blob,
    "more instructions": lambda members: members[INSNS].extend(bytes(8)),
    "btf": _describe("btf", lambda d: d["btf"] + "00"),
    "func_info": _describe("func_info", lambda d: d["func_info"] + "00" * 8),
    "status": _describe("status", lambda d: d["status"] + 4),
    "context_size": _describe("context_size", lambda d: d["context_size"] + 4),
    "no context_size": lambda members: members[DESCRIPTION].pop("context_size"),
    "form": _describe("form", lambda _: "unrolled"),
    "regions": _describe("regions", lambda d: d["regions"][:-1]),
    "region's field": _describe("regions", lambda d: [*d["regions"][:-1], [0, 4, "data", 1, "x"]]),
    "message": _describe("regions", lambda d: [*d["regions"], [0, 4, "data", -1, "message"]]),
    "maps": _swap_slots("maps"),
    "programs": _swap_slots("programs"),
    "map's size": _lie("MapCreate", "max_entries", 11),
    "program's name": _lie("ProgLoad", "name", "harmless"),
    "guard": _describe("guards", lambda d: d["guards"][1:]),
    "no operations left": lambda m: m[DESCRIPTION].update(
        ops=[], maps=[], programs=[], guards=[], regions=[]
    ),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_each_lie_is_found(lie: Callable[[Members], None]) -> None:
    loader = forged(lie)
    assert loader.compared is Bytes.DIFFERENT
    with pytest.raises(BadBundle, match=r"do not match the description \(--trust-bytes"):
        open_loader(loader)
    with pytest.raises(BadBundle, match="do not match the description"):
        render(loader, Language.PYTHON, SkeletonOptions())
    with pytest.raises(BadBundle, match="--replay direct would make the calls of the description"):
        open_loader(loader, direct=True)


def test_what_stays_unnamed_is_refused() -> None:
    def hide(kind: str) -> Callable[[Members], None]:
        return _describe(kind, lambda d: d[kind][:1])

    with pytest.raises(BadBundle, match="creates an object that is not a result"):
        forged(hide("maps"), _describe("guards", lambda _: []))
    with pytest.raises(BadBundle, match="creates an object that is not a result"):
        forged(hide("programs"), _describe("guards", lambda _: []))


def test_a_loader_that_is_generated_here_needs_no_check() -> None:
    obj = lskel.open_object(compile_bpf(SOURCE), name="test")
    loader = lskel.generate(obj)
    assert loader.compared is Bytes.SAME
    check_bytes(loader)


class TestAnotherVersion:
    def test_same_bytes_are_the_same(self) -> None:
        assert forged(by_another_version).compared is Bytes.SAME

    def test_same_calls_may_run(self) -> None:
        loader = forged(by_another_version, longer_blob)
        assert loader.compared is Bytes.ANOTHER_VERSION
        assert with_comparison(loader).compared is Bytes.SAME_CALLS
        check_bytes(loader)
        check_bytes(loader, Options(max_entries={"table": 20}, autoload={"second": False}))
        check_trace(loader)

    def test_other_calls_are_different(self) -> None:
        loader = forged(by_another_version, LIES["blob"])
        assert with_comparison(loader).compared is Bytes.DIFFERENT
        with pytest.raises(BadBundle, match="do not match the description"):
            check_bytes(loader)

    def test_what_does_not_come_to_its_end_is_different(self) -> None:
        """Two that fail at the same call are not known to be equal behind it."""
        no_entries = SOURCE.replace("max_entries, 10", "max_entries, 0", 1)

        def change(members: Members) -> None:
            by_another_version(members)
            longer_blob(members)

        loader = load(forge(bundle(source=no_entries), change))
        assert loader.compared is Bytes.ANOTHER_VERSION
        assert with_comparison(loader).compared is Bytes.DIFFERENT

    def test_what_cannot_be_generated_is_different(self) -> None:
        """A value as large as a blob may be leaves no room for anything else."""

        def change(members: Members) -> None:
            by_another_version(members)
            _lie("MapUpdate", "size", MAX_SIZE)(members)
            _lie("MapCreate", "value_size", MAX_SIZE)(members)

        source = 'int counter = 7; SEC("socket") int p(void *ctx) { return counter++; }'
        loader = load(forge(bundle(source=source), change))
        assert regenerated(loader) is None
        assert with_comparison(loader).compared is Bytes.DIFFERENT

    @pytest.mark.kernel
    def test_what_is_set_afterwards_is_compared_as_well(self) -> None:
        """When it is opened only the options are known."""
        asked = []
        for lie in (longer_blob, LIES["blob"]):
            loader = forged(by_another_version, lie)
            bpf = lskel.load(loader, trust_bytes=True)
            bpf.maps["other"].max_entries = 30
            with bpf, ExitStack() as held:
                asked.append((loader, bpf.request(held, held)))
        check_request(*asked[0])
        with pytest.raises(BadBundle, match="do not match the description"):
            check_request(*asked[1])

        kernel = LoaderKernel(forged(by_another_version, LIES["blob"]))
        with (
            lskel.load(kernel.loader, kernel=kernel, trust_bytes=True) as bpf,
            pytest.raises(BadBundle, match="do not match the description"),
        ):
            bpf.load()

    @pytest.mark.kernel
    def test_it_loads(self) -> None:
        with load_by_loader(forged(by_another_version, longer_blob)) as bpf:
            assert [made.name for made in bpf.maps] == ["table", "other"]


class TestNoOtherBytes:
    def test_in_form(self) -> None:
        loader = load(bundle())
        assert in_form(loader, Form.TABLE) is loader
        assert in_form(loader, Form.UNROLLED) == lskel.generate(loader.trace, Form.UNROLLED)
        for changes in ([longer_blob], [longer_blob, by_another_version]):
            with pytest.raises(BadBundle, match="cannot convert the table form to unrolled"):
                in_form(forged(*changes), Form.UNROLLED)

    @pytest.mark.kernel
    def test_a_kernel_without_loops(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is the same is unrolled, and known to be; anything else is refused."""
        tried = []

        def without_loops(insns: bytes, *rest: object) -> object:
            tried.append(insns)
            if len(tried) == 1:
                raise BpfError(Cmd.PROG_LOAD, errno.EINVAL)
            return run_loader(insns, *rest)  # type: ignore[arg-type]

        monkeypatch.setattr("lskel.runtime.image.run_loader", without_loops)
        made = load(bundle())
        kernel = LoaderKernel(made)
        with open_loader(made, kernel=kernel).load() as bpf:
            assert bpf.loaded and bpf.progs.prog.loaded
            assert kernel.loader.form is Form.UNROLLED
            assert kernel.loader.insns == tried[1]
        for changes in ([longer_blob], [longer_blob, by_another_version]):
            tried.clear()
            with pytest.raises(ReplayError, match="not unrolled: the bytes do not match"):
                load_by_loader(forged(*changes), TRUSTING)
            assert len(tried) == 1

    @pytest.mark.kernel
    @FORMS
    def test_trusted_bytes_run_as_they_are(self, form: Form) -> None:
        with load_by_loader(forged(LIES["blob"], form=form), TRUSTING) as bpf:
            assert bpf.maps["table"].info().max_entries == 20
            assert bpf.maps["other"].info().max_entries == 10

    @pytest.mark.kernel
    @pytest.mark.parametrize("changes", [[], [by_another_version]], ids=["this", "another"])
    def test_a_failure_of_trusted_bytes_is_not_the_descriptions(
        self, changes: list[Callable[[Members], object]]
    ) -> None:
        """What failed is not told by the description, nor is the log of other calls shown."""
        loader = forged(lambda members: resize_in_blob(members, "table", 0), *changes)
        with pytest.raises(ReplayError) as caught:
            load_by_loader(loader, TRUSTING)
        assert str(caught.value) == "test: the loader returned EINVAL"
        assert (caught.value.op, caught.value.label, caught.value.log) == (None, None, ())
