// What an object will do to the machine, in sentences.

import type { Op, Report } from "./report";
import { bytes, list, plural } from "./words";

/** A sentence, and the operations that it is about. */
export interface Sentence {
  readonly text: string;
  readonly ops: readonly number[];
}

/** Operations of one topic are told together, though they are done in turn with others. */
export function story(report: Report): readonly Sentence[] {
  const topics = new Map<string, Op[]>();
  for (const op of report.ops) {
    const topic = MAP_KINDS.has(op.kind) ? "maps" : op.kind;
    topics.set(topic, [...(topics.get(topic) ?? []), op]);
  }
  return Object.entries(TELL).flatMap(([topic, tell]) => {
    const ops = topics.get(topic);
    return ops ? [{ text: tell(ops, report), ops: ops.map((op) => op.number) }] : [];
  });
}

const MAP_KINDS = new Set(["MapCreate", "MapUpdate", "MapFreeze"]);

const TELL: Readonly<Record<string, (ops: readonly Op[], report: Report) => string>> = {
  BtfLoad: (_, { btf }) =>
    btf
      ? `gives the kernel its types: ${plural(btf.types, "BTF type")}, ${bytes(btf.size)}`
      : "gives the kernel its types",
  maps: tellMaps,
  BtfFind: (ops) =>
    `looks up ${plural(ops.length, "type or function", "types and functions")} in the kernel's BTF`,
  KsymFind: (ops) =>
    `looks up the ${ops.length === 1 ? "address" : "addresses"} of ${plural(ops.length, "kernel symbol")}`,
  ProgLoad: (ops, report) => `loads ${plural(ops.length, "program")}: ${names(ops, report)}`,
  RawTracepointOpen: (ops, report) => `attaches ${names(ops, report)}`,
  LinkCreate: (ops, report) => `attaches ${names(ops, report)}`,
  Close: (ops) => `closes what is no longer needed: ${plural(ops.length, "file descriptor")}`,
};

function tellMaps(ops: readonly Op[]): string {
  const number = (kind: string) => ops.filter((op) => op.kind === kind).length;
  const parts = [
    [number("MapCreate"), (n: number) => `creates ${plural(n, "map")}`],
    [number("MapUpdate"), (n: number) => `writes ${plural(n, "initial value")}`],
    [number("MapFreeze"), (n: number) => `freezes ${n} of them`],
  ] as const;
  return list(parts.filter(([n]) => n > 0).map(([n, say]) => say(n)));
}

const SHOWN = 6;

function names(ops: readonly Op[], report: Report): string {
  const all = ops.flatMap((op) => report.programs[op.program ?? -1]?.name ?? []);
  return all.length <= SHOWN ? list(all) : `${all.slice(0, SHOWN).join(", ")}, …`;
}
