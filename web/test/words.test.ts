import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { bytes, count, duration, hex, list, plural } from "../src/words";

test("numbers", () => {
  deepEqual([count(0), count(1234567)], ["0", "1,234,567"]);
  deepEqual([hex(0), hex(255), hex(255, 4), hex(0x12345, 4)], ["0x0", "0xff", "0x00ff", "0x12345"]);
});

test("one or many", () => {
  deepEqual(
    [0, 1, 2, 1000].map((n) => plural(n, "map")),
    ["0 maps", "1 map", "2 maps", "1,000 maps"],
  );
  deepEqual(
    [1, 2].map((n) => plural(n, "entry", "entries")),
    ["1 entry", "2 entries"],
  );
});

test("bytes in the unit that fits", () => {
  const sizes = [1, 9_999, 10_000, (1 << 20) - 1, 1 << 20, 2_500_000];
  const expected = ["1 byte", "9,999 bytes", "9.77 KiB", "1,020 KiB", "1 MiB", "2.38 MiB"];
  deepEqual(sizes.map(bytes), expected);
});

test("durations in the unit that fits", () => {
  const times = [0, 999, 1000, 1_234_567, 2e9];
  deepEqual(times.map(duration), ["0 ns", "999 ns", "1 µs", "1.23 ms", "2 s"]);
});

test("lists", () => {
  deepEqual([[], ["a"], ["a", "b"], ["a", "b", "c"]].map(list), ["", "a", "a and b", "a, b and c"]);
  equal(list(["x"]), "x");
});
