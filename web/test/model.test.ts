import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { byteAt, end, lastAt, Model, regionAt } from "../src/model";
import { blob, failure, listing, map, measurement, program, region, report } from "./reports";

test("lastAt is the last that begins at or before", () => {
  const things = [{ offset: 2 }, { offset: 5 }, { offset: 5 }, { offset: 9 }];
  const found = [0, 1, 2, 4, 5, 8, 9, 100].map((offset) => lastAt(things, offset));
  deepEqual(found, [-1, -1, 0, 0, 2, 2, 3, 3]);
  equal(lastAt([], 0), -1);
});

test("regionAt is the region that holds a byte", () => {
  const regions = [region(0, 4), region(4, 1), region(8, 8)];
  const whole = blob(16, regions);
  const found = [0, 3, 4, 5, 7, 8, 15, 16].map((offset) => regionAt(whole, offset));
  deepEqual(found, [0, 0, 1, -1, -1, 2, 2, -1]);
  deepEqual(regions.map(end), [4, 5, 16]);
});

test("byteAt reads what is repeated, and not what is left out", () => {
  const content = [
    { offset: 0, size: 2, raw: "0aff" },
    { offset: 2, size: 5, raw: "1020" },
    { offset: 7, size: 3, raw: "" },
    { offset: 10, size: 1, raw: "77" },
  ];
  const bytes = Array.from({ length: 12 }, (_, offset) => byteAt(blob(11, [], content), offset));
  const leftOut = [undefined, undefined, undefined];
  deepEqual(bytes, [0x0a, 0xff, 0x10, 0x20, 0x10, 0x20, 0x10, ...leftOut, 0x77, undefined]);
  equal(byteAt(blob(0, []), 0), undefined);
});

test("programs, maps and listings by name", () => {
  const model = new Model(
    report({
      programs: [program("first"), program("second")],
      maps: [map("events"), map("first")],
      listings: [listing("first", []), listing("second", [])],
    }),
  );
  deepEqual([model.program("second"), model.program("events")], [1, undefined]);
  deepEqual([model.map("first"), model.map("second")], [1, undefined]);
  equal(model.listing("second")?.name, "second");
  equal(model.listing("events"), undefined);
});

test("times are of the operations that were done", () => {
  const times = [
    { op: 3, median: 2, shortest: 1, longest: 4 },
    { op: 4, median: 0, shortest: 0, longest: 0 },
  ];
  const model = new Model(report({ measurement: measurement(null, times) }));
  deepEqual([...model.times], [[3, times[0]]]);
  equal(new Model(report()).times.size, 0);
});

test("what failed: the real replay counts before the simulated one", () => {
  const simulation = { calls: 1, others: [], failure: failure(2, "simulated") };
  const simulated = new Model(report({ simulation, problem: "other" }));
  equal(simulated.failure?.message, "simulated");
  equal(simulated.cause, "simulated");
  equal(simulated.isBeyond(3), false);

  const refused = failure(5, "real", ["the verifier says why", "more"]);
  const real = new Model(report({ simulation, measurement: measurement(refused) }));
  equal(real.failure, refused);
  equal(real.cause, "the verifier says why");
  deepEqual(
    [4, 5, 6].map((number) => real.isBeyond(number)),
    [false, false, true],
  );

  const fine = new Model(report({ simulation, measurement: measurement(null) }));
  deepEqual([fine.failure, fine.cause, fine.isBeyond(9)], [null, "", false]);
  equal(new Model(report({ problem: "no loader" })).cause, "no loader");
});
