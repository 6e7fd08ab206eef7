// Which vertical line belongs to the result of an operation, from where it is created to its last use.

import type { Op } from "./report";

export interface Lane {
  readonly column: number;
  readonly maker: number;
  readonly last: number;
}

export interface Lanes {
  /** By the operation that makes it; only those that something uses. */
  readonly of: ReadonlyMap<number, Lane>;
  /** By row: those that are there. */
  readonly at: readonly (readonly Lane[])[];
  readonly columns: number;
}

/** A column is taken again when its lane has ended. */
export function lanes(ops: readonly Op[]): Lanes {
  const of = new Map<number, Lane>();
  const at: Lane[][] = ops.map(() => []);
  const ends: number[] = [];
  for (const op of ops) {
    const last = Math.max(...op.used_by, -1);
    if (last <= op.number) continue;
    const free = ends.findIndex((end) => end <= op.number);
    const column = free < 0 ? ends.length : free;
    ends[column] = last;
    const lane = { column, maker: op.number, last };
    of.set(op.number, lane);
    for (let row = op.number; row <= last; row++) at[row]?.push(lane);
  }
  return { of, at, columns: ends.length };
}
