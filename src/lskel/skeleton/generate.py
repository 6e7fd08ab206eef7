"""Output languages: bundles and skeletons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from lskel.errors import UsageError
from lskel.loader.generate import AUTO, PLAIN
from lskel.loader.model import Bytes, Form, Loader


class Language(Enum):
    """The output: a bundle, or a skeleton in Python or C."""

    BUNDLE = "bundle"
    PYTHON = "python"
    C = "c"


# Languages by file suffix; the first suffix of a language is the default.
SUFFIXES = {".lskel": Language.BUNDLE, ".py": Language.PYTHON, ".h": Language.C}
# The default file name for an object NAME.
FILE_NAMES = {
    Language.BUNDLE: "{}.lskel",
    Language.PYTHON: "{}_lskel.py",
    Language.C: "{}.lskel.h",
}


@dataclass(frozen=True, slots=True)
class SkeletonOptions:
    """Options for skeletons.

    `embed`: a Python skeleton embeds lskel's runtime instead of importing lskel. `standalone`: a C
    skeleton does not need libbpf headers. `trust_bytes`: accept a bundle whose bytes differ from
    what its description generates.
    """

    embed: bool = True
    standalone: bool = False
    trust_bytes: bool = False


def language_of(path: str) -> Language:
    """The language of a file suffix; a bundle for unknown ones."""
    return next(
        (lang for suffix, lang in SUFFIXES.items() if path.endswith(suffix)), Language.BUNDLE
    )


def default_form(language: Language, options: SkeletonOptions) -> Form | str:
    """The default loader form of a language.

    libbpf's skel_internal.h only runs programs without BTF.
    """
    if language is Language.C and not options.standalone:
        return PLAIN
    return Form.TABLE if language is Language.BUNDLE else AUTO


def render(loader: Loader, language: Language, options: SkeletonOptions) -> bytes:
    """The output in a language; UsageError if the options are for another one.

    BadBundle if the loader's bytes cannot be trusted.
    """
    if loader.compared is not Bytes.SAME:
        from lskel.replay.trust import check_carried

        if language is not Language.BUNDLE:
            check_carried(loader, trust=options.trust_bytes)
    given = {
        Language.PYTHON: not options.embed,
        Language.C: options.standalone,
    }
    if any(is_given for lang, is_given in given.items() if lang is not language):
        raise UsageError(
            f"options do not apply to {language.value}",
            hint="--runtime is for Python, --standalone for C",
        )
    return _WRITERS[language](loader, options)


def _bundle(loader: Loader, _options: SkeletonOptions) -> bytes:
    from lskel.loader.bundle import dump

    return dump(loader)


def _python(loader: Loader, options: SkeletonOptions) -> bytes:
    from lskel.skeleton.python import generate_python

    return generate_python(loader, embed=options.embed).encode()


def _c(loader: Loader, options: SkeletonOptions) -> bytes:
    from lskel.skeleton.c import generate_c

    return generate_c(loader, loader.trace.name, standalone=options.standalone).encode()


_WRITERS: dict[Language, Callable[[Loader, SkeletonOptions], bytes]] = {
    Language.BUNDLE: _bundle,
    Language.PYTHON: _python,
    Language.C: _c,
}
