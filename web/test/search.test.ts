import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { Index } from "../src/search";
import { blob, extern, listing, map, op, program, region, report, row } from "./reports";

const line = (number: number, text: string) => ({ file: "a.c", line: number, column: 1, text });

const index = new Index(
  report({
    programs: [program("handle", { type: "TRACEPOINT", section: "tp/x" })],
    maps: [
      map("counts", { variables: [] }),
      map(".bss", {
        type: "ARRAY",
        variables: [{ name: "seen", type: "int", offset: 0, size: 4 }],
      }),
    ],
    ops: [op(4, "MapCreate", { title: "MapCreate 'counts'", phrase: "map 'counts'" })],
    externs: [extern("bpf_kfunc", "kfunc")],
    listings: [
      listing("handle", [
        row(0, "r0 = 0", { label: "handle", source: line(7, "  int zero = 0;") }),
        row(1, "r1 = 0 ll", {
          source: line(7, "  int zero = 0;"),
          marks: [{ kind: "map", name: "counts", map: 0, op: 4, insn: null }],
        }),
        row(3, "exit", { label: "inner", source: line(9, "   ") }),
      ]),
    ],
    blob: blob(24, [region(0, 8, "attr", "create"), region(8, 8, "padding"), region(16, 8, "btf")]),
  }),
);

const told = (query: string) =>
  index.find(query).map(({ group, text, more }) => `${group}: ${text} (${more})`);

test("everything with a name or a text is found", () => {
  deepEqual(told("tracepoint"), ["programs: handle (TRACEPOINT tp/x)"]);
  deepEqual(told("int, in"), ["variables: seen (int, in .bss)"]);
  deepEqual(told("kfunc"), ["symbols: bpf_kfunc (kfunc)"]);
  // Where a program begins is the program.
  const functions = ["programs: handle (TRACEPOINT tp/x)", "functions: inner (in handle)"];
  deepEqual(told("in handle"), functions);
  deepEqual(told("a.c:"), ["source lines: a.c:9 (a.c:9)", "source lines: int zero = 0; (a.c:7)"]);
  deepEqual(told("exit"), ["instructions: exit (handle, 3)"]);
  deepEqual(told("0x0000"), ["blob: create (attr at 0x0000)"]);
  deepEqual(told("0x0010"), ["blob: BTF (BTF at 0x0010)"]);
  deepEqual(told("padding"), []);
});

test("groups in their order", () => {
  deepEqual(told("counts"), [
    "maps: counts (HASH)",
    "operations: op 4 MapCreate 'counts' (map 'counts')",
    "instructions: r1 = 0 ll (map counts, handle, 1)",
  ]);
});

test("where it is", () => {
  const place = (query: string) => index.find(query)[0]?.place;
  deepEqual(place("tracepoint"), { view: "programs", program: "handle" });
  deepEqual(place("counts"), { view: "overview", map: "counts" });
  deepEqual(place("seen"), { view: "overview", map: ".bss" });
  deepEqual(place("op 4"), { view: "replay", op: 4 });
  deepEqual(place("kfunc"), { view: "overview", extern: "bpf_kfunc" });
  deepEqual(place("inner"), { view: "programs", program: "handle", insn: 3 });
  deepEqual(place("int zero"), { view: "programs", program: "handle", insn: 0 });
  deepEqual(place("exit"), { view: "programs", program: "handle", insn: 3 });
  deepEqual(place("0x0010"), { view: "blob", blob: 16 });
});

test("all words, in any case, wherever they are", () => {
  equal(told("hash COUNTS").length, 1);
  deepEqual(told("hash nowhere"), []);
  deepEqual(told(" \t "), []);
});

test("of a group the first eight, those first that begin so", () => {
  const names = [..."abcdefghij"].map((letter) => `${letter}_map`);
  const all = [...names, "map_1", ...names.map((name) => `map_${name}`)];
  const many = new Index(report({ maps: all.map((name) => map(name)) }));
  deepEqual(
    many.find("map").map(({ text }) => text),
    ["map_1", ..."abcdefg"].map((name) => (name === "map_1" ? name : `map_${name}_map`)),
  );
  deepEqual(
    many.find("_map").map(({ text }) => text),
    names.slice(0, 8),
  );
  deepEqual(
    many.find("map _1").map(({ text }) => text),
    ["map_1"],
  );
  const few = new Index(report({ maps: ["x_map", "map_1", "y_map"].map((name) => map(name)) }));
  deepEqual(
    few.find("map").map(({ text }) => text),
    ["map_1", "x_map", "y_map"],
  );
});
