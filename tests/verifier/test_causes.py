"""The table of causes, and what the documents say of it."""

from __future__ import annotations

import re
import string

import pytest

from lskel.verifier.causes import CAUSES, NULLABLE, STALE, cause_of, match
from lskel.verifier.patterns import slots
from tests.verifier import documents

LOWER = f" {string.ascii_lowercase}"
SAID = [(cause, said) for cause in CAUSES for said in cause.messages]


def test_ids_and_texts() -> None:
    assert len(CAUSES) >= 40 and len(SAID) >= 300
    assert len({cause.id for cause in CAUSES}) == len(CAUSES)
    for cause in CAUSES:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", cause.id)
        assert not cause.title.endswith(".") and cause.title.removeprefix("BTF")[0] in LOWER
        assert cause.explanation.endswith((".", ")")) and cause.suggestion
        assert len(cause.explanation) + len(cause.suggestion) < 380, cause.id
        assert len(cause.example.splitlines()) <= 2
        assert cause.messages or cause.id in (STALE, NULLABLE)


def test_no_message_twice() -> None:
    templates = [said.template for _, said in SAID]
    assert len(set(templates)) == len(templates)


@pytest.mark.parametrize(
    ("message", "cause", "found"),
    [
        ("R0 invalid mem access 'map_value_or_null'", "null-check", {"reg": "0"}),
        ("R2 invalid mem access 'trusted_ptr_or_null_'", "null-check", {"reg": "2"}),
        ("R1 invalid mem access 'inv'", "untyped-pointer", {"reg": "1"}),
        ("R3 invalid mem access 'map_ptr'", "pointer-access", {"reg": "3", "type": "map_ptr"}),
        ("R5 !read_ok", "uninitialized-register", {"reg": "5"}),
        ("invalid stack off=-520 size=8", "stack-limit", {"deep": "-520"}),
        (
            "invalid write to stack R10 off=-520 size=8",
            "stack-limit",
            {"reg": "10", "deep": "-520"},
        ),
        ("invalid write to stack R10 off=0 size=8", "stack-bounds", {"reg": "10", "off": "0"}),
        ("invalid func unknown#195896080", "core-relocation", {}),
        ("invalid func unknown#2001000004", "missing-map", {"missing_map": "2001000004"}),
        ("invalid func unknown#2002000003", "missing-symbol", {"missing_kfunc": "2002000003"}),
        ("invalid func unknown#999", "helper-unknown", {"func": "unknown", "number": "999"}),
        (
            "unknown func bpf_skb_store_bytes#9",
            "helper-not-allowed",
            {"func": "bpf_skb_store_bytes", "number": "9"},
        ),
        ("back-edge from insn 7 to 3", "infinite-loop", {"insn": "7", "to": "3"}),
        (
            "At program exit the register R0 has smin=0 smax=9 should have been in [0, 1]",
            "return-value",
            {"place": "program exit", "reg": "0"},
        ),
        (
            "At program exit the register R0 has value (0x5; 0x0) should have been in (0x0; 0x1)",
            "return-value",
            {"place": "program exit", "reg": "0"},
        ),
        *(
            (message, "privilege", {"reg": "3"} if " comparison" in message else {})
            for message in (
                "R3 pointer comparison prohibited",
                "R3 variable stack access prohibited for !root, var_off=(0x0; 0xf) off=-16",
                "R3 stack pointer arithmetic goes out of range, prohibited for !root",
                "R3 variable offset stack access prohibited for !root, var_off=(0x0; 0xf)",
                "R3 pointer arithmetic of map value goes out of range, prohibited for !root",
                "uninit stack in range of var-offset write prohibited for !root; insn 3, ptr off",
                "R3 has unknown scalar with mixed signed bounds, pointer arithmetic with it "
                "prohibited for !root",
                "R3 could not be pushed for speculative verification, pointer arithmetic with it "
                "prohibited for !root",
            )
        ),
        # Linux 7.3 names arguments by their registers.
        ("Expected an initialized dynptr as R3", "dynptr", {"reg": "3"}),
        ("expected an initialized iter_num as R1", "iterator", {"reg": "1", "type": "iter_num"}),
        ("Possibly NULL pointer passed to trusted R1", "null-check", {"reg": "1"}),
        ("R2 expected pointer to stack or const struct bpf_dynptr", "dynptr", {"reg": "2"}),
        ("R2 expected pointer to func", "callback", {"reg": "2"}),
        ("R2 expected pointer to map value or allocated object", "argument-type", {"reg": "2"}),
        ("R2 doesn't point to an irq flag on stack", "lock", {"reg": "2"}),
        ("signed program cannot bind any BTF", "signature", {}),
        ("invalid size of register fill", "partial-pointer", {}),
        ("attempt to corrupt spilled pointer on stack", "partial-pointer", {}),
        (
            "workqueue pointer in R1 map_uid=1 doesn't match map pointer in R2 map_uid=2",
            "other-map",
            {},
        ),
        ("invalid zero-sized read", "zero-size", {}),
        ("the call stack of 9 frames is too deep", "call-depth", {"number": "9"}),
        ("the call stack of 9 frames is too deep !", "global-call-depth", {"number": "9"}),
        (
            "The total number of maps per program has reached the limit of 64",
            "too-many-maps",
            {"number": "64"},
        ),
        ("R0 leaks addr as return value", "pointer-leak", {"reg": "0"}),
        ("div by zero", "division", {}),
        ("kernel subsystem misconfigured verifier", "kernel-bug", {}),
        ("Invalid type of something new", None, {}),
    ],
)
def test_match(message: str, cause: str | None, found: dict[str, str]) -> None:
    matched = match([message])
    if cause is None:
        assert matched is None
        return
    assert matched and (matched.cause.id, matched.slots) == (cause, found)


def test_what_sums_up_yields() -> None:
    """Of several messages the one that tells the cause counts, wherever it stands."""
    matched = match(
        [
            "Caller passes invalid args into func#1 ('f')",
            "dereference of modified ctx ptr R2 off=1 disallowed",
        ]
    )
    assert matched and matched.cause.id == "modified-pointer" and matched.number == 1


def test_templates() -> None:
    assert slots("a {off}*", "a -3 and more") == {"off": "-3"}
    assert slots("a {off}", "a x") is None
    assert slots("a.b", "axb") is None
    assert cause_of(STALE).id == STALE


def test_document() -> None:
    assert documents.DOCUMENT.read_text() == documents.written()
