import { equal } from "node:assert/strict";
import { test } from "node:test";
import { missing } from "../src/missing";
import { Model } from "../src/model";
import { parse, VIEWS, type View } from "../src/place";
import { blob, extern, listing, loader, map, op, program, region, report, row } from "./reports";

const step = (number: number) => ({ number, raw: "", text: "" });
const wide = row(1, "r1 = 0 ll", { raw: "00".repeat(16) });

const model = new Model(
  report({
    maps: [map("events")],
    programs: [program("main")],
    externs: [extern("kfunc", "kfunc")],
    ops: [op(0, "BtfLoad"), op(1, "Close", { steps: [step(4)] })],
    listings: [listing("main", [row(0, "r0 = 0"), wide])],
    loader: loader({ rows: [row(0, "exit")], steps: [step(0)] }),
    blob: blob(16, [region(0, 8)]),
  }),
);

const said = (hash: string, of = model, views: readonly View[] = VIEWS) =>
  missing(of, hash, parse(hash), views);

test("what is there", () => {
  const there = [
    "map=events",
    "extern=kfunc",
    "op=0",
    "op=1",
    "program=main",
    "blob=0x7",
    "step=0",
  ];
  const more = ["step=4", "program=main&insn=2", "loader&insn=0", ...VIEWS];
  for (const hash of ["", "#", ...[...there, ...more].map((text) => `#${text}`)])
    equal(said(hash), "");
});

test("what is not", () => {
  const cases = {
    "#map=main": "map 'main'",
    "#extern=events": "symbol 'events'",
    "#op=2": "op 2",
    "#program=events": "program 'events'",
    "#blob=0x8": "byte 0x8",
    "#step=1": "step 1",
    "#program=main&insn=3": "instruction 3",
    "#loader&insn=1": "instruction 1",
    "#program=other&insn=0": "program 'other'",
  };
  for (const [hash, what] of Object.entries(cases)) equal(said(hash), `There is no ${what}.`);
});

test("addresses that say nothing", () => {
  equal(said("#nowhere"), "There is no place 'nowhere'.");
  equal(said("#a%20b"), "There is no place 'a b'.");
  equal(said("#100%"), "There is no place '100%'.");
});

test("reports without a loader, pages without a view", () => {
  const empty = new Model(report());
  equal(said("#blob=0x0", empty), "There is no byte 0x0.");
  equal(said("#step=0", empty), "There is no step 0.");
  equal(said("#loader&insn=0", empty), "There is no instruction 0.");
  const views = VIEWS.filter((view) => view !== "differences");
  equal(said("#differences", empty, views), "The page has nothing to show as 'differences'.");
});
