"""The harness sees what it is there to see."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from lskel.errors import LskelError
from lskel.loader.model import Loader
from lskel.object.open import open_object
from tests.fuzz import outputs, pair, pool
from tests.fuzz import watch as watch_module
from tests.fuzz.bundle import damaged_bundle
from tests.fuzz.elf import damaged_elf
from tests.fuzz.names import MARK
from tests.fuzz.seeds import ROOT, Kind, seeds
from tests.fuzz.watch import BYTES, Caught, Watch

LOG = (ROOT / "tests" / "verifier" / "logs" / "aya.txt").read_bytes()


def seen(function: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> str:
    """What is found where a command does this."""

    def main(_words: list[str]) -> int:
        function()
        return 0

    monkeypatch.setattr(pair, "main", main)
    result = pool.run(
        range(1), lambda _: pair.of_input("verifier-log", LOG, "in.log", b""), workers=1
    )
    assert result.pairs == 1
    return next(iter(result.kinds), "")


def loop() -> None:
    while True:
        pass


def swallow() -> None:
    try:
        os.system(MARK)
    except BaseException:  # noqa: BLE001
        print("nothing happened")


def raise_deep() -> None:
    Loader.load(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("what", "function"),
    [
        ("os.system", lambda: os.system(MARK)),
        ("os.system", swallow),
        ("subprocess.Popen", lambda: subprocess.run([MARK])),
        ("socket", lambda: socket.socket()),
        ("open", lambda: Path("/tmp/lskel-fuzz").write_text("")),
        ("open", lambda: Path("../lskel-fuzz").write_text("")),
        ("os.remove", lambda: Path("/tmp/lskel-fuzz").unlink()),
        ("compile", lambda: eval("1 + 1")),
        ("files that were not asked for", lambda: Path("more").write_text("")),
        ("MemoryError", lambda: bytes(2 * BYTES)),
        ("SystemExit", lambda: sys.exit(0)),
        ("TypeError: bundle.py:load", raise_deep),
        ("on the terminal", lambda: print("\x1b]0;title\x07")),
        ("one line", lambda: print("lskel: a\nb", file=sys.stderr)),
        ("internal error", lambda: print("lskel: internal error: x", file=sys.stderr)),
        ("ended with -9", lambda: signal.raise_signal(signal.SIGKILL)),
        ("", lambda: Path("in.log").read_bytes()),
    ],
)
def test_found(what: str, function: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    found = seen(function, monkeypatch)
    assert what in found if what else not found


def test_what_takes_too_long_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "SECONDS", 0.2)
    assert "OutOfTime" in seen(loop, monkeypatch)


CLEAN = '"""Generated."""\nimport sys\n\n\nclass A:\n    """Doc."""\n'


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (outputs.python, CLEAN, f"{CLEAN}{MARK}()\n"),
        (outputs.python, CLEAN, f"{CLEAN}    x = {MARK}()\n"),
        (outputs.python, CLEAN, f'{CLEAN}"""'),
        (outputs.python_run, CLEAN, f"{CLEAN}    x = open('/proc/self/environ')\n"),
        (outputs.python_run, CLEAN, f"{CLEAN}    x = __import__('os').system('true')\n"),
        (outputs.python_run, CLEAN, f"{CLEAN}    exec('1')\n"),
        (outputs.python_run, CLEAN, f"{CLEAN}    x = nothing\n"),
        (outputs.c_header, f'"{MARK}()" /* {MARK}() */ \'"\'', f'"" {MARK}() ""'),
        (outputs.c_header, f"// {MARK}()\n", f"// ??/\n\n{MARK}()"),
        (outputs.page, f"&lt;script&gt;{MARK}", f"<script>{MARK}"),
        (outputs.json_text, "{}", "{"),
        (outputs.printed, "\x1b[1mx\x1b[0m\n", "\u202ex"),
    ],
)
def test_checks(check: outputs.Check, good: str, bad: str, watch: Watch) -> None:
    assert not check(good.encode(), watch)
    assert judged(check, bad.encode(), watch)


def judged(check: outputs.Check, content: bytes, watch: Watch) -> str:
    try:
        return check(content, watch)
    except Caught as error:
        return str(error)


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Watch:
    """The hook stays with this process, inactive."""
    return Watch(str(tmp_path_factory.mktemp("watched")))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_same_number_makes_the_same_pair() -> None:
    assert [pair.make(number) for number in range(50)] == [pair.make(n) for n in range(50)]


def refusals(
    kind: Kind, damage: Callable[[Random, bytes, bytes], bytes], read: Callable[[bytes], object]
) -> str:
    """What readers say of damaged inputs; "good" where they take one."""
    rng = Random(1)
    said = []
    for _ in range(300):
        data = seeds()[kind].choose(rng).read()
        try:
            read(damage(rng, data, data))
            said.append("good")
        except LskelError as error:
            said.append(str(error))
        except Exception as error:  # noqa: BLE001 - test_fuzz.py is there for this
            said.append(repr(error))
    return "\n".join(said)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_damage_reaches_all_of_an_input() -> None:
    objects = refusals(Kind.OBJECT, damaged_elf, open_object)
    for place in ("good", "the section names", "section .BTF:", "section .BTF.ext:", "DATASEC"):
        assert place in objects, place
    bundles = refusals(Kind.BUNDLE, damaged_bundle, Loader.load)
    for place in ("good", "corrupt bundle", "lskel.json: ", "operation ", "do not match"):
        assert place in bundles, place
