// Draws a blob: rows of bytes, each range in the hue and pattern of its kind.

import { kindOf, type Pattern } from "./kinds";
import { byteAt, end, regionAt } from "./model";
import type { BlobContent, BlobRegion } from "./report";
import { hex } from "./words";

export const ROW = 18;
const GAP = 3;
/** Left of the rows stand offsets. */
export const GUTTER = 74;
const FADED = 0.22;
/** Cells as wide as this have the byte in them. */
const LEGIBLE = 17;

export interface Grid {
  readonly perRow: number;
  readonly cell: number;
  readonly rows: number;
}

/** How `size` bytes lie in rows of `perRow` over `width` pixels. */
export function grid(size: number, perRow: number, width: number): Grid {
  const cell = Math.max(width - GUTTER, 1) / perRow;
  return { perRow, cell, rows: Math.ceil(size / perRow) };
}

/** Bytes of the shortest rows: as many as one can read. */
export const SHORTEST = 16;

/** The shortest rows of which so many hold the whole blob: SHORTEST times a power of 2. */
export function fitting(size: number, rows: number): number {
  let perRow = SHORTEST;
  while (perRow * rows < size) perRow *= 2;
  return perRow;
}

export interface Scene {
  readonly blob: BlobContent;
  readonly grid: Grid;
  /** The first pixel in sight. */
  readonly top: number;
  readonly selected: number;
  readonly hovered: number;
  /** Regions of the same operation as the selected one. */
  readonly related: ReadonlySet<number>;
  /** Other kinds are faded; all are shown where it is empty. */
  readonly kinds: ReadonlySet<string>;
}

export function offsetAt(grid: Grid, size: number, x: number, y: number): number | undefined {
  const column = Math.floor((x - GUTTER) / grid.cell);
  const offset = Math.floor(y / ROW) * grid.perRow + column;
  return column >= 0 && column < grid.perRow && offset >= 0 && offset < size ? offset : undefined;
}

export function draw(canvas: HTMLCanvasElement, scene: Scene): void {
  const context = canvas.getContext("2d");
  if (!context) return;
  const { clientWidth: width, clientHeight: height } = canvas;
  const scale = window.devicePixelRatio || 1;
  canvas.width = width * scale;
  canvas.height = height * scale;
  context.scale(scale, scale);
  const painter = new Painter(context, getComputedStyle(canvas), scene, height);
  painter.offsets();
  painter.regions();
  painter.bytes();
}

class Painter {
  readonly #first: number;
  readonly #last: number;
  readonly #fills = new Map<string, string | CanvasPattern>();

  constructor(
    readonly context: CanvasRenderingContext2D,
    readonly style: CSSStyleDeclaration,
    readonly scene: Scene,
    height: number,
  ) {
    this.#first = Math.max(0, Math.floor(scene.top / ROW));
    this.#last = Math.min(scene.grid.rows - 1, Math.floor((scene.top + height) / ROW));
  }

  offsets(): void {
    const { context, scene } = this;
    context.font = `11px ${this.#hue("mono")}`;
    context.fillStyle = this.#hue("muted");
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (let row = this.#first; row <= this.#last; row++) {
      const text = hex(row * scene.grid.perRow, 4);
      context.fillText(text, GUTTER - 10, row * ROW - scene.top + (ROW - GAP) / 2 + 1);
    }
  }

  regions(): void {
    const { blob, grid, selected, hovered, related, kinds } = this.scene;
    const from = this.#first * grid.perRow;
    const to = Math.min((this.#last + 1) * grid.perRow, blob.size);
    const first = Math.max(0, regionAt(blob, from));
    for (let index = first; index < blob.regions.length; index++) {
      const region = blob.regions[index];
      if (!region || region.offset >= to) break;
      this.context.globalAlpha = kinds.size && !kinds.has(region.kind) ? FADED : 1;
      this.#fill(region);
    }
    this.context.globalAlpha = 1;
    for (const index of related) this.#outline(blob.regions[index], "related", 1.5);
    if (hovered !== selected) this.#outline(blob.regions[hovered], "ink", 1.5);
    this.#outline(blob.regions[selected], "ink", 3);
  }

  bytes(): void {
    const { blob, grid, top, kinds } = this.scene;
    const { context } = this;
    if (grid.cell < LEGIBLE) return;
    context.textAlign = "center";
    context.font = `11px ${this.#hue("mono")}`;
    for (let row = this.#first; row <= this.#last; row++) {
      for (let column = 0; column < grid.perRow; column++) {
        const offset = row * grid.perRow + column;
        const byte = offset < blob.size ? byteAt(blob, offset) : undefined;
        if (!byte) continue; // 0 is what most bytes are; it shows as an empty cell
        const kind = blob.regions[regionAt(blob, offset)]?.kind ?? "";
        context.globalAlpha = kinds.size && !kinds.has(kind) ? FADED : 1;
        context.fillStyle = this.#hue(`on-${kindOf(kind).hue}`);
        const text = byte.toString(16).padStart(2, "0");
        const x = GUTTER + (column + 0.5) * grid.cell;
        context.fillText(text, x, row * ROW - top + (ROW - GAP) / 2 + 1);
      }
    }
    context.globalAlpha = 1;
  }

  #fill(region: BlobRegion): void {
    const kind = kindOf(region.kind);
    for (const box of this.#boxes(region)) {
      this.context.fillStyle = this.#hue(kind.hue);
      this.context.fillRect(...box);
      if (kind.pattern === "plain") continue;
      this.context.fillStyle = this.#pattern(kind.pattern);
      this.context.fillRect(...box);
    }
  }

  #outline(region: BlobRegion | undefined, hue: string, width: number): void {
    if (!region) return;
    this.context.strokeStyle = this.#hue(hue);
    this.context.lineWidth = width;
    for (const [x, y, w, h] of this.#boxes(region)) this.context.strokeRect(x, y, w, h);
  }

  /** What of a region is in sight, a box for each row; narrow ones stay visible. */
  *#boxes(region: BlobRegion): Generator<[number, number, number, number]> {
    const { grid, top } = this.scene;
    const { perRow, cell } = grid;
    const first = Math.max(this.#first, Math.floor(region.offset / perRow));
    const last = Math.min(this.#last, Math.floor((end(region) - 1) / perRow));
    const gap = cell > 4 ? 1 : 0;
    for (let row = first; row <= last; row++) {
      const from = Math.max(region.offset - row * perRow, 0);
      const to = Math.min(end(region) - row * perRow, perRow);
      const width = Math.max((to - from) * cell - gap, 1);
      yield [GUTTER + from * cell, row * ROW - top, width, ROW - GAP];
    }
  }

  #hue(name: string): string {
    return this.style.getPropertyValue(`--${name}`);
  }

  #pattern(pattern: Pattern): string | CanvasPattern {
    const known = this.#fills.get(pattern);
    if (known) return known;
    const made =
      this.context.createPattern(tile(pattern, this.#hue("pattern")), "repeat") ?? "transparent";
    this.#fills.set(pattern, made);
    return made;
  }
}

const TILE = 6;

/** The same patterns are in style.css, for what is not drawn on a canvas. */
function tile(pattern: Pattern, hue: string): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  canvas.width = TILE;
  canvas.height = TILE;
  const context = canvas.getContext("2d");
  if (!context) return canvas;
  context.strokeStyle = hue;
  context.fillStyle = hue;
  context.lineWidth = 1.2;
  const line = (x0: number, y0: number, x1: number, y1: number) => {
    context.beginPath();
    context.moveTo(x0, y0);
    context.lineTo(x1, y1);
    context.stroke();
  };
  const slanted = (rising: boolean) => {
    for (const shift of [-TILE, 0, TILE]) {
      if (rising) line(shift, TILE, shift + TILE, 0);
      else line(shift, 0, shift + TILE, TILE);
    }
  };
  const parts: Readonly<Record<Pattern, () => void>> = {
    plain: () => undefined,
    rising: () => slanted(true),
    falling: () => slanted(false),
    rows: () => line(0, 3, TILE, 3),
    columns: () => line(3, 0, 3, TILE),
    grid: () => {
      line(0, 3, TILE, 3);
      line(3, 0, 3, TILE);
    },
    dots: () => context.fillRect(2, 2, 2, 2),
  };
  parts[pattern]();
  return canvas;
}
