// The report with what the views look up in it again and again.

import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { BlobContent, BlobRegion, Failure, OpTime, ProgramListing, Report } from "./report";

export class Model {
  /** Of the operations that were done. */
  readonly times: ReadonlyMap<number, OpTime>;
  readonly #programs: ReadonlyMap<string, number>;
  readonly #maps: ReadonlyMap<string, number>;

  constructor(readonly report: Report) {
    const times = report.measurement?.times.filter((time) => time.longest > 0) ?? [];
    this.times = new Map(times.map((time) => [time.op, time]));
    this.#programs = new Map(report.programs.map((program, index) => [program.name, index]));
    this.#maps = new Map(report.maps.map((map, index) => [map.name, index]));
  }

  /** What stopped the replay: the real one if there was one, else the simulated. */
  get failure(): Failure | null {
    const { measurement, simulation } = this.report;
    return (measurement ?? simulation)?.failure ?? null;
  }

  /** Whether the real replay stopped before an operation: only the simulator got there. */
  isBeyond(op: number): boolean {
    const stopped = this.report.measurement?.failure?.op ?? null;
    return stopped !== null && op > stopped;
  }

  /** What to call a failure in one line: its cause where the verifier's log tells it. */
  get cause(): string {
    const { failure } = this;
    return failure?.explanation[0] ?? failure?.message ?? this.report.problem;
  }

  program(name: string): number | undefined {
    return this.#programs.get(name);
  }

  map(name: string): number | undefined {
    return this.#maps.get(name);
  }

  listing(name: string): ProgramListing | undefined {
    const index = this.program(name);
    return index === undefined ? undefined : this.report.listings[index];
  }
}

const Context = createContext<Model | null>(null);
export const ModelProvider = Context.Provider;

export function useModel(): Model {
  const model = useContext(Context);
  if (model === null) throw new Error("outside of the page");
  return model;
}

/** Index of the last of sorted things that begins at or before `offset`; -1 for none. */
export function lastAt(things: readonly { readonly offset: number }[], offset: number): number {
  let [low, high] = [0, things.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((things[middle]?.offset ?? 0) <= offset) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** Index of the region that holds the byte at `offset`; -1 for none. */
export function regionAt(blob: BlobContent, offset: number): number {
  const index = lastAt(blob.regions, offset);
  const region = blob.regions[index];
  return region && offset < end(region) ? index : -1;
}

export function end(region: BlobRegion): number {
  return region.offset + region.size;
}

/** A byte of the blob; undefined where the page leaves it out. */
export function byteAt(blob: BlobContent, offset: number): number | undefined {
  const stretch = blob.content[lastAt(blob.content, offset)];
  if (!stretch?.raw || offset >= stretch.offset + stretch.size) return undefined;
  const at = ((offset - stretch.offset) * 2) % stretch.raw.length;
  return Number.parseInt(stretch.raw.slice(at, at + 2), 16);
}
