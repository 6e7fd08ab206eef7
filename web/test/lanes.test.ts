import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { lanes } from "../src/lanes";
import { op } from "./reports";

const of = (...used_by: readonly (readonly number[])[]) =>
  lanes(used_by.map((users, number) => op(number, "MapCreate", { used_by: users })));

test("a lane leads from the maker to the last user", () => {
  const found = of([1, 2], [], []);
  deepEqual([...found.of], [[0, { column: 0, maker: 0, last: 2 }]]);
  deepEqual(
    found.at.map((row) => row.map(({ maker }) => maker)),
    [[0], [0], [0]],
  );
  equal(found.columns, 1);
});

test("what nothing uses has none", () => {
  const found = of([], []);
  deepEqual([found.of.size, found.columns, found.at.flat().length], [0, 0, 0]);
  deepEqual(lanes([]), { of: new Map(), at: [], columns: 0 });
});

test("lanes side by side have a column each, which is taken again at their end", () => {
  const found = of([3], [2], [4], [5], [], []);
  deepEqual(
    [...found.of.values()].map(({ maker, column, last }) => [maker, column, last]),
    [
      [0, 0, 3],
      [1, 1, 2],
      [2, 1, 4],
      [3, 0, 5],
    ],
  );
  equal(found.columns, 2);
  deepEqual(
    found.at.map((row) => row.map(({ maker }) => maker)),
    [[0], [0, 1], [0, 1, 2], [0, 2, 3], [2, 3], [3]],
  );
});
