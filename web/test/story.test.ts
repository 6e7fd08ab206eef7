import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import { story } from "../src/story";
import { op, program, report } from "./reports";

const told = (...parts: Parameters<typeof report>) =>
  story(report(...parts)).map(({ text }) => text);

test("topics in order, with the operations that they are about", () => {
  const ops = [
    op(0, "BtfLoad"),
    op(1, "MapCreate"),
    op(2, "MapUpdate"),
    op(3, "MapCreate"),
    op(4, "ProgLoad", { program: 0 }),
    op(5, "RawTracepointOpen", { program: 0 }),
    op(6, "Close"),
  ];
  const btf = { size: 20_480, types: 1, needed_by: "" };
  deepEqual(story(report({ ops, btf, programs: [program("handle")] })), [
    { text: "gives the kernel its types: 1 BTF type, 20 KiB", ops: [0] },
    { text: "creates 2 maps and writes 1 initial value", ops: [1, 2, 3] },
    { text: "loads 1 program: handle", ops: [4] },
    { text: "attaches handle", ops: [5] },
    { text: "closes what is no longer needed: 1 file descriptor", ops: [6] },
  ]);
});

test("one and many", () => {
  const of = (kind: string, number: number) =>
    told({ ops: Array.from({ length: number }, (_, at) => op(at, kind)) });
  deepEqual(
    ["BtfLoad", "MapFreeze", "BtfFind", "KsymFind", "Close"].flatMap((kind) => of(kind, 1)),
    [
      "gives the kernel its types",
      "freezes 1 of them",
      "looks up 1 type or function in the kernel's BTF",
      "looks up the address of 1 kernel symbol",
      "closes what is no longer needed: 1 file descriptor",
    ],
  );
  deepEqual(
    ["MapUpdate", "BtfFind", "KsymFind"].flatMap((kind) => of(kind, 2)),
    [
      "writes 2 initial values",
      "looks up 2 types and functions in the kernel's BTF",
      "looks up the addresses of 2 kernel symbols",
    ],
  );
});

test("of many programs the first", () => {
  const programs = [..."abcdefg"].map((name) => program(name));
  const loads = (number: number) => ({
    ops: Array.from({ length: number }, (_, at) => op(at, "LinkCreate", { program: at })),
    programs,
  });
  deepEqual(told(loads(2)), ["attaches a and b"]);
  deepEqual(told(loads(6)), ["attaches a, b, c, d, e and f"]);
  deepEqual(told(loads(7)), ["attaches a, b, c, d, e, f, …"]);
});

test("nothing", () => {
  deepEqual(told(), []);
});
