"""The generated parts of the documents: listings of a loader, and the bundle of an example.

python -m tests.describe.documents

writes them anew, in place. A part is the fenced block below a comment that names it.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from functools import partial
from typing import Any, NamedTuple

from lskel.cli import main
from lskel.describe.regions import BlobMap
from lskel.loader.blob import Region, RegionKind
from lskel.loader.bundle import dump
from lskel.loader.generate import generate
from lskel.loader.model import Form
from lskel.object.open import open_object
from tests.build.clang import EXAMPLES, example

HELLO = "examples/hello.bpf.o"
DOCUMENTS = sorted((EXAMPLES.parent / "docs").glob("*.md"))
# Kinds of regions that consist of elements, whose size is this.
_ELEMENTS = {
    RegionKind.FD_ARRAY: 4,
    RegionKind.ATTR: 4,
    RegionKind.CONTEXT: 4,
    RegionKind.RECORDS: 16,
}
_SHOWN = 16
_PART = re.compile(r"(?<=<!-- generated: )([^\n]*)( -->\n```\w*\n)(.*?)(?=^```$)", re.DOTALL | re.M)


class Part(NamedTuple):
    """A part of a document as it is, and as it should be."""

    name: str
    found: str
    expected: str


def _listing(form: Form) -> str:
    out = io.StringIO()
    with redirect_stdout(out):
        assert main(["disasm", str(example("hello")), "--loader", "--form", form.value]) == 0
    return out.getvalue()


def _archive() -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(dump(generate(open_object(example("hello"))))))


def _members() -> str:
    """As `unzip -l` lists them."""
    members = [(info.file_size, info.filename) for info in _archive().infolist()]
    lines = ["$ unzip -l hello.lskel", "Archive:  hello.lskel"]
    lines += ["  Length      Date    Time    Name", "---------  ---------- -----   ----"]
    lines += [f"{size:9}  1980-01-01 00:00   {name}" for size, name in members]
    total = sum(size for size, _ in members)
    lines += ["---------                     -------", f"{total:9}{'':21}{len(members)} files"]
    return "\n".join(lines) + "\n"


def _blob() -> str:
    """What is in the blob: fields that are not 0, the records, of other data the beginning."""
    loader = generate(open_object(example("hello")))
    names = BlobMap(loader)
    first = min(r.offset for r in loader.regions if r.kind is RegionKind.RECORDS)
    lines = []
    for region in sorted(loader.regions):
        size = _ELEMENTS.get(region.kind, region.size)
        for at in range(region.offset, region.offset + region.size, size):
            content = loader.blob[at : at + min(size, _SHOWN)]
            name = names.name(at, region.op, whole=region.kind not in _ELEMENTS)
            if region.kind is RegionKind.RECORDS:
                name = f"record {(at - first) // size} of {_owner(region)}"
            if any(content) or region.kind is not RegionKind.ATTR:
                more = f" ... {size} bytes" if size > _SHOWN else ""
                lines.append(f"{at:5}  {content.hex(' ') + more:62} {name}")
    return "\n".join(lines) + "\n"


def _owner(region: Region) -> str:
    return region.field or ("all ops" if region.op < 0 else f"op {region.op}")


def _description() -> str:
    fields = json.loads(_archive().read("lskel.json"))
    return (
        "{\n"
        + ",\n".join(f'  "{name}": {_broken(value)}' for name, value in fields.items())
        + "\n}\n"
    )


def _broken(value: Any) -> str:
    if not isinstance(value, list) or not value:
        return json.dumps(value)
    return "[\n" + ",\n".join(f"    {json.dumps(item)}" for item in value) + "\n  ]"


_MAKE: dict[str, Callable[[], str]] = {
    f"lskel disasm {HELLO} --loader --form {form.value}": partial(_listing, form) for form in Form
} | {"members": _members, "description": _description, "blob": _blob}


def parts() -> Iterator[Part]:
    """All of them."""
    for path in DOCUMENTS:
        for name, _, found in _PART.findall(path.read_text()):
            yield Part(name, found, _MAKE[name]())


def _write() -> None:
    for path in DOCUMENTS:
        text = path.read_text()
        path.write_text(_PART.sub(lambda match: match[1] + match[2] + _MAKE[match[1]](), text))


if __name__ == "__main__":
    _write()
