// What an address asks for that is not there.

import { type Model, regionAt } from "./model";
import { type Place, VIEWS, type View } from "./place";
import { hex } from "./words";

/** In words; empty where all is there. `views` are those that the page has. */
export function missing(model: Model, hash: string, place: Place, views: readonly View[]): string {
  const { report } = model;
  const { map, extern, blob, op, program, insn, step } = place;
  const text = decode(hash.replace(/^#/, ""));
  if (text === "") return "";
  const isKnown = Object.keys(place).length > 1 || VIEWS.some((view) => view === text);
  if (!isKnown) return `There is no place '${text}'.`;
  const isThere = (number: number | undefined) => number !== undefined && number >= 0;
  const checks: readonly (readonly [unknown, boolean, string])[] = [
    [map, isThere(model.map(map ?? "")), `map '${map}'`],
    [extern, report.externs.some(({ name }) => name === extern), `symbol '${extern}'`],
    [op, (op ?? 0) < report.ops.length, `op ${op}`],
    [program, isThere(model.program(program ?? "")), `program '${program}'`],
    [blob, !!report.blob && regionAt(report.blob, blob ?? 0) >= 0, `byte ${hex(blob ?? 0)}`],
    [step, hasStep(model, step ?? 0), `step ${step}`],
    [insn, hasInsn(model, place), `instruction ${insn}`],
  ];
  const found = checks.find(([asked, isThere]) => asked !== undefined && !isThere);
  if (found) return `There is no ${found[2]}.`;
  return views.includes(place.view) ? "" : `The page has nothing to show as '${place.view}'.`;
}

const hasStep = ({ report }: Model, step: number) =>
  [report.loader, ...report.ops].some((owner) => owner?.steps.some((at) => at.number === step));

function hasInsn(model: Model, { program, insn = 0 }: Place): boolean {
  const rows = program === undefined ? model.report.loader?.rows : model.listing(program)?.rows;
  const last = rows?.at(-1);
  return last !== undefined && insn < last.insn + last.raw.length / 16;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // not everything behind a % is a byte
  }
}
