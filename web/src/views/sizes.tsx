// Where the bytes go: a treemap, and the same as a table.

import { type HierarchyRectangularNode, hierarchy, treemap } from "d3-hierarchy";
import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { kindOf } from "../kinds";
import { type Model, useModel } from "../model";
import { format, type Place } from "../place";
import type { SizeNode } from "../report";
import { Swatch, To } from "../ui/parts";
import { bytes, count } from "../words";

const HEIGHT = 340;
const HEAD = 20;
/** Boxes of less than this many square pixels are not drawn: nobody could see or hit them. */
const SMALLEST = 40;
const DEPTH = 2;

type Box = HierarchyRectangularNode<SizeNode>;

export function Sizes() {
  const model = useModel();
  const views = model.report.sizes;
  const [title, choose] = useState(views[0]?.title);
  const view = views.find((view) => view.title === title);
  if (!view) return null;
  return (
    <section aria-labelledby="sizes">
      <h2 id="sizes">Sizes</h2>
      <fieldset class="choice">
        <legend class="unseen">How to divide</legend>
        {views.length > 1 &&
          views.map((view) => (
            <label key={view.title}>
              <input
                type="radio"
                name="sizes"
                checked={view.title === title}
                onChange={() => choose(view.title)}
              />
              {view.title}
            </label>
          ))}
        <span class="muted">{bytes(view.root.size)} in all</span>
      </fieldset>
      <Treemap root={view.root} />
      <SizeTable root={view.root} />
    </section>
  );
}

function Treemap({ root }: { root: SizeNode }) {
  const model = useModel();
  const frame = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    if (!frame.current) return undefined;
    const observer = new ResizeObserver(
      ([entry]) => entry && setWidth(Math.floor(entry.contentRect.width)),
    );
    observer.observe(frame.current);
    return () => observer.disconnect();
  }, []);
  const boxes = useMemo(() => layOut(root, width), [root, width]);
  return (
    <div class="treemap" ref={frame} style={{ height: `${HEIGHT}px` }}>
      {boxes.map((box) => (
        <TreemapBox key={path(box)} box={box} place={placeOf(model, box.data)} />
      ))}
    </div>
  );
}

function layOut(root: SizeNode, width: number): readonly Box[] {
  if (width === 0) return [];
  // Sizes are the leaves' (`sum` adds them up along the way to the root).
  const tree = hierarchy(root, (node) => (node.children.length ? [...node.children] : undefined))
    .sum((node) => (node.children.length ? 0 : node.size))
    .sort((a, b) => (b.value ?? 0) - (a.value ?? 0));
  const laid = treemap<SizeNode>()
    .size([width, HEIGHT])
    .paddingInner(2)
    .paddingTop((box) => (box.depth === 1 && box.children ? HEAD : 0))
    .round(true)(tree);
  return laid
    .descendants()
    .filter((box) => box.depth > 0 && box.depth <= DEPTH && area(box) >= SMALLEST);
}

const area = (box: Box) => (box.x1 - box.x0) * (box.y1 - box.y0);

const path = (box: Box): string =>
  `${box.parent ? path(box.parent) : ""}/${box.parent?.children?.indexOf(box) ?? 0}`;

function TreemapBox({ box, place }: { box: Box; place: Place | undefined }) {
  const { x0, y0, x1, y1 } = box;
  const kind = kindOf(box.data.kind);
  const isGroup = box.depth < DEPTH && box.children !== undefined;
  const name = `${nameOf(box.data)}: ${bytes(box.value ?? 0)}`;
  const fits = x1 - x0 > 60 && y1 - y0 > 15;
  const attributes = {
    class: `box ${isGroup ? "group" : `leaf pattern-${kind.pattern}`}`,
    style: {
      left: `${x0}px`,
      top: `${y0}px`,
      width: `${x1 - x0}px`,
      height: `${y1 - y0}px`,
      ...(isGroup ? {} : { "--hue": `var(--${kind.hue})` }),
    },
    title: name,
  };
  const text = fits && (
    <span>
      {nameOf(box.data)}
      {(isGroup || y1 - y0 > 32) && <small> {bytes(box.value ?? 0)}</small>}
    </span>
  );
  return place ? (
    <a {...attributes} href={format(place)} aria-label={name}>
      {text}
    </a>
  ) : (
    <div {...attributes}>{text}</div>
  );
}

/** Kinds have a name in words. */
const nameOf = (node: SizeNode) => (node.name === node.kind ? kindOf(node.kind).label : node.name);

function placeOf(model: Model, node: SizeNode): Place | undefined {
  const { blob, programs, maps } = model.report;
  const region = blob?.regions[node.regions[0] ?? -1];
  if (region) return { view: "blob", blob: region.offset };
  const program = programs[node.program ?? -1];
  if (program) return { view: "programs", program: program.name };
  const map = maps[node.map ?? -1];
  if (map) return { view: "overview", map: map.name };
  return undefined;
}

function SizeTable({ root }: { root: SizeNode }) {
  const model = useModel();
  const rows = [...root.children].sort((a, b) => b.size - a.size);
  return (
    <details class="size-table">
      <summary>As a table</summary>
      <table>
        <thead>
          <tr>
            <th>what</th>
            <th class="right">bytes</th>
            <th class="right">share</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((node) => {
            const place = placeOf(model, node);
            return (
              <tr key={node.name}>
                <th scope="row">
                  {node.kind && <Swatch kind={node.kind} />}{" "}
                  {place ? <To place={place}>{nameOf(node)}</To> : nameOf(node)}
                </th>
                <td class="right">{count(node.size)}</td>
                <td class="right">{((100 * node.size) / Math.max(root.size, 1)).toFixed(1)} %</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </details>
  );
}
