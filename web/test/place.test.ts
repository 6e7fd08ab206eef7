import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { format, type Place, parse, VIEWS } from "../src/place";

const PLACES: readonly (readonly [Place, string])[] = [
  [{ view: "overview", map: "events" }, "#map=events"],
  [{ view: "overview", extern: "bpf_f" }, "#extern=bpf_f"],
  [{ view: "blob", blob: 0 }, "#blob=0x0"],
  [{ view: "blob", blob: 4660 }, "#blob=0x1234"],
  [{ view: "replay", op: 0 }, "#op=0"],
  [{ view: "programs", program: "main" }, "#program=main"],
  [{ view: "programs", program: "main", insn: 0 }, "#program=main&insn=0"],
  [{ view: "loader", step: 7 }, "#step=7"],
  [{ view: "loader", insn: 12 }, "#loader&insn=12"],
  ...VIEWS.map((view) => [{ view }, `#${view}`] as const),
];

test("an address says a place, and is said by it", () => {
  for (const [place, hash] of PLACES) {
    equal(format(place), hash);
    deepEqual(parse(hash), place);
  }
});

test("names may have in them what means something in addresses", () => {
  for (const name of ["a b", "a+b", "a&op=1", "=", "#", "%41", "é/ü", "a;b"]) {
    deepEqual(parse(format({ view: "overview", map: name })), { view: "overview", map: name });
    const place: Place = { view: "programs", program: name, insn: 3 };
    deepEqual(parse(format(place)), place);
  }
});

test("what an address says wrongly counts for nothing", () => {
  const overview: Place = { view: "overview" };
  for (const hash of ["", "#", "#nowhere", "#op=", "#op=x", "#op=-1", "#op=1.5", "#op=1e99"])
    deepEqual(parse(hash), overview);
  deepEqual(parse("#blob=x"), { view: "blob" });
  deepEqual(parse("#map=a+b"), { view: "overview", map: "a+b" });
  // What it selects decides which view is shown, the first of them before the others.
  deepEqual(parse("#loader&blob=0x10"), { view: "blob", blob: 16 });
  deepEqual(parse("#op=1&map=m"), { view: "overview", map: "m", op: 1 });
  deepEqual(parse("#problems&insn=1"), { view: "loader", insn: 1 });
});
