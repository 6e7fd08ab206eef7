import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { fitting, GUTTER, grid, offsetAt, ROW } from "../src/picture";

test("the bytes lie in rows", () => {
  deepEqual(grid(100, 16, GUTTER + 320), { perRow: 16, cell: 20, rows: 7 });
  equal(grid(96, 16, GUTTER + 320).rows, 6);
  equal(grid(1, 16, 10).cell, 1 / 16); // narrower than the offsets left of them
});

test("the shortest rows that fit", () => {
  const sizes = [0, 160, 161, 320, 321, 5000];
  deepEqual(
    sizes.map((size) => fitting(size, 10)),
    [16, 16, 32, 32, 64, 512],
  );
});

test("the byte under a pixel", () => {
  const of = grid(20, 16, GUTTER + 160);
  const at = (x: number, y: number) => offsetAt(of, 20, GUTTER + x, y);
  deepEqual([at(0, 0), at(9, ROW - 1), at(10, 0), at(159, 0)], [0, 0, 1, 15]);
  deepEqual([at(0, ROW), at(39, ROW), at(40, ROW)], [16, 19, undefined]);
  deepEqual([at(-1, ROW), at(160, 0), at(0, -1), at(0, 2 * ROW)], Array(4).fill(undefined));
});
