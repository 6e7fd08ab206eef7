"""Choosing a language: what is written around a loader."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from lskel.errors import UsageError
from lskel.loader.generate import AUTO
from lskel.loader.model import Bytes, Form, Loader


class Language(Enum):
    """What comes out: a bundle, or a skeleton in Python or C."""

    BUNDLE = "bundle"
    PYTHON = "python"
    C = "c"


# The suffix of a file says what it is to hold; the first one of a language is what it gets.
SUFFIXES = {".lskel": Language.BUNDLE, ".py": Language.PYTHON, ".h": Language.C}
# How the file for an object NAME is called.
FILE_NAMES = {
    Language.BUNDLE: "{}.lskel",
    Language.PYTHON: "{}_lskel.py",
    Language.C: "{}.lskel.h",
}


@dataclass(frozen=True, slots=True)
class SkeletonOptions:
    """How a skeleton is written.

    `embed`: a Python skeleton carries lskel's runtime instead of importing lskel. `standalone`: a C
    skeleton needs no header of libbpf. `event_types`: the BTF type of the events of a ring or perf
    buffer, by map. `trust_bytes`: of a bundle whose bytes are not what its description
    generates, they are taken all the same.
    """

    embed: bool = True
    standalone: bool = False
    event_types: Mapping[str, str] = field(default_factory=dict)
    trust_bytes: bool = False


def language_of(path: str) -> Language:
    """The language that a file's suffix says; a bundle where it says none."""
    return next(
        (lang for suffix, lang in SUFFIXES.items() if path.endswith(suffix)), Language.BUNDLE
    )


def default_form(language: Language, options: SkeletonOptions) -> Form | str:
    """The form of loader that suits a language best.

    libbpf's skel_internal.h runs programs without BTF only, so a C skeleton's is unrolled.
    """
    if language is Language.C and not options.standalone:
        return Form.UNROLLED
    return Form.TABLE if language is Language.BUNDLE else AUTO


def render(loader: Loader, language: Language, options: SkeletonOptions) -> bytes:
    """What a file in that language holds; UsageError where the options are not for it.

    BadBundle where the loader's bytes are not to be trusted.
    """
    if loader.compared is not Bytes.SAME:
        from lskel.replay.trust import check_carried

        if language is not Language.BUNDLE:
            check_carried(loader, trust=options.trust_bytes)
    given = {
        Language.PYTHON: not options.embed or bool(options.event_types),
        Language.C: options.standalone,
    }
    if any(is_given for lang, is_given in given.items() if lang is not language):
        raise UsageError(
            f"options for another language than {language.value}",
            hint="--runtime and --event-type are for Python, --standalone for C",
        )
    return _WRITERS[language](loader, options)


def _bundle(loader: Loader, _options: SkeletonOptions) -> bytes:
    from lskel.loader.bundle import dump

    return dump(loader)


def _python(loader: Loader, options: SkeletonOptions) -> bytes:
    from lskel.skeleton.python import generate_python

    text = generate_python(loader, embed=options.embed, event_types=options.event_types)
    return text.encode()


def _c(loader: Loader, options: SkeletonOptions) -> bytes:
    from lskel.skeleton.c import generate_c

    return generate_c(loader, loader.trace.name, standalone=options.standalone).encode()


_WRITERS: dict[Language, Callable[[Loader, SkeletonOptions], bytes]] = {
    Language.BUNDLE: _bundle,
    Language.PYTHON: _python,
    Language.C: _c,
}
