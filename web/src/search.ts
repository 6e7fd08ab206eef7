// Everything that has a name or a text, and where it is.

import { kindOf } from "./kinds";
import type { Place } from "./place";
import type { Report } from "./report";
import { hex } from "./words";

export interface Found {
  readonly group: string;
  readonly text: string;
  readonly more: string;
  readonly place: Place;
}

interface Entry extends Found {
  readonly key: string;
}

/** At most so many of a group are shown. */
const SHOWN = 8;

export class Index {
  readonly #entries: readonly Entry[];

  constructor(report: Report) {
    this.#entries = [...entries(report)].map((found) => ({
      ...found,
      key: `${found.text} ${found.more}`.toLowerCase(),
    }));
  }

  /** What has all the words in it; by group, what begins with the first of them before the rest. */
  find(query: string): readonly Found[] {
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    const [first] = words;
    if (first === undefined) return [];
    const groups = new Map<string, [Found[], Found[]]>();
    for (const entry of this.#entries) {
      const [starting, others] = groups.get(entry.group) ?? [[], []];
      if (starting.length >= SHOWN || !words.every((word) => entry.key.includes(word))) continue;
      if (entry.key.startsWith(first)) starting.push(entry);
      else if (others.length < SHOWN) others.push(entry);
      groups.set(entry.group, [starting, others]);
    }
    return [...groups.values()].flatMap((found) => found.flat().slice(0, SHOWN));
  }
}

function* entries(report: Report): Generator<Found> {
  for (const { name, type, section } of report.programs)
    yield {
      group: "programs",
      text: name,
      more: `${type} ${section}`,
      place: { view: "programs", program: name },
    };
  for (const map of report.maps) {
    const place: Place = { view: "overview", map: map.name };
    yield { group: "maps", text: map.name, more: map.type, place };
    for (const variable of map.variables)
      yield {
        group: "variables",
        text: variable.name,
        more: `${variable.type}, in ${map.name}`,
        place,
      };
  }
  for (const op of report.ops)
    yield {
      group: "operations",
      text: `op ${op.number} ${op.title}`,
      more: op.phrase,
      place: { view: "replay", op: op.number },
    };
  for (const { name, kind } of report.externs)
    yield { group: "symbols", text: name, more: kind, place: { view: "overview", extern: name } };
  for (const listing of report.listings) {
    const seen = new Set<string>();
    for (const row of listing.rows) {
      const place: Place = { view: "programs", program: listing.name, insn: row.insn };
      if (row.label && row.insn > 0)
        yield { group: "functions", text: row.label, more: `in ${listing.name}`, place };
      if (!row.source) continue;
      const { file, line, text } = row.source;
      const key = `${file}:${line}`;
      if (seen.has(key)) continue;
      seen.add(key);
      yield { group: "source lines", text: text.trim() || key, more: key, place };
    }
  }
  for (const listing of report.listings)
    for (const row of listing.rows)
      yield {
        group: "instructions",
        text: row.text,
        more: [
          ...row.marks.map((mark) => `${mark.kind} ${mark.name}`),
          `${listing.name}, ${row.insn}`,
        ].join(", "),
        place: { view: "programs", program: listing.name, insn: row.insn },
      };
  for (const region of report.blob?.regions ?? [])
    if (region.kind !== "padding")
      yield {
        group: "blob",
        text: region.name || kindOf(region.kind).label,
        more: `${kindOf(region.kind).label} at ${hex(region.offset, 4)}`,
        place: { view: "blob", blob: region.offset },
      };
}
