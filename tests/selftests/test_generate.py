"""lskel generates a loader for every object of the corpus that libbpf can open."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import lskel
from lskel.bpf.enums import ProgType
from tests import corpus
from tests.corpus import Corpus
from tests.loads import load_by_loader
from tests.selftests.reference import each_corpus, generated_by_bpftool
from tests.selftests.types import TYPES, typed

pytestmark = [pytest.mark.corpus, pytest.mark.usefixtures("corpus_tools")]

_TO_BE_LINKED = (
    "not declared in the BTF sections .ksyms or .kconfig .*link the object that defines it"
)
_MAPS_TO_BE_LINKED = "DATASEC .maps: extern map 'map[12]' is not in this object .link"
_UNUSED = "no struct_ops map uses it"
# Objects that nobody can load as they are, with what lskel says of each.
UNLOADABLE = {
    "linked_funcs1": _TO_BE_LINKED,
    "linked_funcs2": _TO_BE_LINKED,
    "linked_maps1": _MAPS_TO_BE_LINKED,
    "linked_maps2": _MAPS_TO_BE_LINKED,
    "linked_vars1": _TO_BE_LINKED,
    "linked_vars2": _TO_BE_LINKED,
    "test_pinning_invalid": "field 'pinning': expected LIBBPF_PIN_NONE or LIBBPF_PIN_BY_NAME",
    "test_subskeleton": _TO_BE_LINKED,
    "test_subskeleton_lib": _MAPS_TO_BE_LINKED,
    "test_usdt_multispec": _TO_BE_LINKED,
    # Of 6.12, and invalid on purpose.
    "bad_struct_ops": "program 'test_1' is already used for member 'test_1'",
    "bad_struct_ops2": _UNUSED,
    "struct_ops_forgotten_cb": _UNUSED,
}

OPENER = r"""
#include <stdio.h>
#include <bpf/libbpf.h>

static int quiet(enum libbpf_print_level level, const char *format, va_list args) { return 0; }

int main(int argc, char **argv)
{
    libbpf_set_print(quiet);
    for (int n = 1; n < argc; n++) {
        struct bpf_object *object = bpf_object__open_file(argv[n], NULL);
        puts(object ? "opened" : "refused");
        bpf_object__close(object);
    }
}
"""


def outcome(path: Path) -> str:
    """Empty where lskel generates a loader, otherwise the error."""
    try:
        lskel.generate(typed(path))
    except lskel.LskelError as error:
        return str(error).removeprefix(f"{path}: ")
    return ""


@cache
def outcomes(of: Corpus) -> dict[Path, str]:
    return {path: outcome(path) for path in corpus.objects(of)}


@each_corpus
def test_every_object(of: Corpus) -> None:
    assert len(outcomes(of)) >= 490
    failed = {path.stem: why for path, why in outcomes(of).items() if why}
    assert failed.keys() == UNLOADABLE.keys() & {path.stem for path in outcomes(of)}
    for stem, why in failed.items():
        assert re.search(UNLOADABLE[stem], why), why
        assert "\n" not in why and len(why) < 500, why


@each_corpus
def test_all_of_bpftools(of: Corpus) -> None:
    by_bpftool = generated_by_bpftool(of)
    ours = outcomes(of)
    alone = [path.stem for path, why in ours.items() if not why and path not in by_bpftool]
    print(f"lskel {sum(not why for why in ours.values())}, bpftool {len(by_bpftool)}")
    assert not [path.stem for path, why in ours.items() if why and path in by_bpftool]
    assert len(alone) > 30


def test_what_libbpf_opens(tmp_path: Path) -> None:
    """libbpf looks at some things when it loads, so it opens what cannot be loaded; not more."""
    source, program = tmp_path / "open.c", tmp_path / "open"
    source.write_text(OPENER)
    subprocess.run(["gcc", source, "-o", program, "-lbpf"], check=True)
    opening = outcomes(corpus.V6_1)  # newer ones need a newer libbpf than Debian's
    paths = list(opening)
    done = subprocess.run([program, *paths], check=True, capture_output=True, text=True)
    opened = {
        path.stem for path, line in zip(paths, done.stdout.split(), strict=True) if line == "opened"
    }
    generated = {path.stem for path, why in opening.items() if not why}
    assert generated <= opened | {"test_sk_assign"}  # which has an old section `maps`
    assert opened - generated <= UNLOADABLE.keys()


# As many programs are named; of the others their number is.
_LISTED = 16


def untyped() -> Iterator[tuple[Path, lskel.Object, list[str]]]:
    """The objects of all corpora whose section names leave types open, with those programs."""
    for path in (path for of in corpus.CORPORA for path in corpus.objects(of)):
        if path.stem in TYPES:
            obj = lskel.open_object(path)
            names = [p.name for p in obj.programs if p.spec.prog_type == ProgType.UNSPEC]
            if names:  # newer ones may have names that give a type
                yield path, obj, names


def test_no_type() -> None:
    """The error names all programs without a type, and says how to give them one."""
    stems = set()
    for path, obj, names in untyped():
        stems.add(path.stem)
        with pytest.raises(lskel.NotSupported, match=r"--type \S+=") as caught:
            lskel.generate(obj)
        assert all(f"'{name}'" in caught.value.what for name in names[:_LISTED])
    assert stems == TYPES.keys()


@pytest.mark.kernel
def test_typed_ones_load() -> None:
    """With the type said, the kernel takes them."""
    failed = {}
    for path, *_ in untyped():
        try:
            load_by_loader(lskel.generate(typed(path))).close()
        except lskel.LskelError as error:
            failed[path] = str(error)
    assert not failed
