import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { kindOf, LOADER_STATE } from "../src/kinds";
import type { BlobContent } from "../src/report";

// As BlobRegion in src/lskel/explain/report.py lists them.
const NAMES =
  "fd_array status fds found attr btf values names insns func_info line_info core_relos messages " +
  "state context records padding data";

test("each kind looks unlike the others", () => {
  const looks = NAMES.split(" ").map((name) => {
    const { hue, pattern } = kindOf(name);
    return `${hue} ${pattern}`;
  });
  equal(new Set(looks).size, looks.length);
});

test("each kind says what it is", () => {
  for (const name of NAMES.split(" ")) equal(kindOf(name).says === "", false);
});

test("a kind of a newer report is shown by its name", () => {
  const name: BlobContent["regions"][number]["kind"] = "newer";
  deepEqual(kindOf(name), { label: "newer", hue: "padding", pattern: "plain", says: "" });
});

test("the state of the loader is one entry of the legend", () => {
  const expected = ["context", "fd_array", "fds", "found", "state", "status"];
  deepEqual([...LOADER_STATE.kinds].sort(), expected);
});
