import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { kindOf, LOADER_STATE } from "../kinds";
import { byteAt, end, lastAt, regionAt, useModel } from "../model";
import { draw, fitting, grid, offsetAt, ROW, SHORTEST } from "../picture";
import { go, type Place } from "../place";
import type { BlobContent, BlobRegion } from "../report";
import { useSize } from "../ui/hooks";
import { Facts, Listed, OpLink, ProgramLink, Split, Swatch } from "../ui/parts";
import { Rows } from "../ui/rows";
import { bytes, count, hex, plural } from "../words";

export function BlobView({ place, blob }: { place: Place; blob: BlobContent }) {
  const [kinds, setKinds] = useState<ReadonlySet<string>>(new Set());
  const selected = place.blob === undefined ? -1 : regionAt(blob, place.blob);
  const select = (index: number, how: "new" | "walk") => {
    const region = blob.regions[index];
    if (region) go({ view: "blob", blob: region.offset }, how);
  };
  const region = blob.regions[selected];
  // What is chosen is always among what is shown.
  const showOnly = (kinds: ReadonlySet<string>) => {
    setKinds(kinds);
    if (region && !isShown(kinds, region))
      select(
        blob.regions.findIndex((region) => isShown(kinds, region)),
        "walk",
      );
  };
  const list = (
    <>
      {!region && <Hint blob={blob} />}
      <Legend blob={blob} kinds={kinds} onChange={showOnly} />
      <Picture
        blob={blob}
        kinds={kinds}
        selected={selected}
        offset={place.blob}
        onSelect={select}
      />
      <Regions blob={blob} kinds={kinds} selected={selected} onSelect={select} />
    </>
  );
  return (
    <Split class="blob" label="Region" list={list} {...(region && { close: { view: "blob" } })}>
      {region && <RegionDetail blob={blob} region={region} at={place.blob ?? 0} />}
    </Split>
  );
}

/** Whether a region is of the kinds that are shown; where none is named, all are. */
const isShown = (kinds: ReadonlySet<string>, { kind }: BlobRegion) =>
  kinds.size === 0 || kinds.has(kind);

function Hint({ blob }: { blob: BlobContent }) {
  return (
    <p class="hint muted">
      <b>
        {plural(blob.size, "byte")}, {plural(blob.regions.length, "region")}
      </b>
      <span class="long">
        : the value of the one map that the loader program works on, with all that it passes to the
        kernel, and room for what comes back
      </span>
      . Choose a range to see whose it is.
    </p>
  );
}

interface KindsProps {
  readonly blob: BlobContent;
  readonly kinds: ReadonlySet<string>;
}

function Legend({
  blob,
  kinds,
  onChange,
}: KindsProps & { onChange: (kinds: ReadonlySet<string>) => void }) {
  const entries = useMemo(() => legend(blob), [blob]);
  const toggle = (entry: Entry) => {
    const isOn = entry.kinds.some((kind) => kinds.has(kind));
    const others = [...kinds].filter((kind) => !entry.kinds.includes(kind));
    onChange(new Set(isOn ? others : [...others, ...entry.kinds]));
  };
  return (
    <fieldset class="legend">
      <legend class="unseen">Show only some kinds of bytes</legend>
      {entries.map((entry) => (
        <button
          type="button"
          key={entry.label}
          class="chip"
          aria-pressed={entry.kinds.some((kind) => kinds.has(kind))}
          title={entry.says}
          onClick={() => toggle(entry)}
        >
          <Swatch kind={entry.swatch} />
          {entry.label} <small>{bytes(entry.size)}</small>
        </button>
      ))}
    </fieldset>
  );
}

interface Entry {
  readonly label: string;
  readonly kinds: readonly string[];
  readonly swatch: string;
  readonly says: string;
  readonly size: number;
}

/** The kinds that there are, those of the loader's state together; the largest first. */
function legend(blob: BlobContent): readonly Entry[] {
  const sizes = new Map<string, number>();
  for (const { kind, size } of blob.regions) sizes.set(kind, (sizes.get(kind) ?? 0) + size);
  const sizeOf = (kind: string) => sizes.get(kind) ?? 0;
  const ofState = LOADER_STATE.kinds.filter((kind) => sizes.has(kind));
  const others = [...sizes.keys()].filter((kind) => !ofState.includes(kind));
  const entries: Entry[] = others.map((kind) => {
    const { label, says } = kindOf(kind);
    return { label, kinds: [kind], swatch: kind, says, size: sizeOf(kind) };
  });
  if (ofState.length > 0)
    entries.push({
      label: LOADER_STATE.label,
      kinds: ofState,
      swatch: "status",
      says: ofState.map((kind) => kindOf(kind).label).join(", "),
      size: ofState.reduce((sum, kind) => sum + sizeOf(kind), 0),
    });
  return entries.sort((a, b) => b.size - a.size);
}

/** As many rows are in sight without scrolling, where the window is high enough. */
const ROWS = 18;

interface PictureProps extends KindsProps {
  readonly selected: number;
  readonly offset: number | undefined;
  readonly onSelect: (index: number, how: "new" | "walk") => void;
}

interface Hovered {
  readonly region: number;
  readonly offset: number;
  readonly x: number;
  readonly y: number;
}

function Picture({ blob, kinds, selected, offset, onSelect }: PictureProps) {
  const frame = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const { width, height } = useSize(frame);
  const [zoom, setZoom] = useState(0);
  const [top, setTop] = useState(0);
  const [hovered, setHovered] = useState<Hovered>();
  const theme = useTheme();

  const fit = fitting(blob.size, ROWS);
  const perRow = Math.max(SHORTEST, fit >> zoom);
  const cells = useMemo(() => grid(blob.size, perRow, width), [blob, perRow, width]);
  const related = useMemo(() => relatives(blob, selected), [blob, selected]);

  useLayoutEffect(() => {
    if (!canvas.current || width === 0) return;
    const scene = {
      blob,
      grid: cells,
      top,
      selected,
      hovered: hovered?.region ?? -1,
      related,
      kinds,
    };
    draw(canvas.current, scene);
  }, [blob, cells, top, selected, hovered?.region, related, kinds, width, height, theme]);

  // What is selected comes into sight, also after zooming.
  useEffect(() => {
    const element = frame.current;
    const at = offset ?? blob.regions[selected]?.offset;
    if (!element || at === undefined || selected < 0) return;
    const y = Math.floor(at / perRow) * ROW;
    if (y < element.scrollTop || y + ROW > element.scrollTop + element.clientHeight)
      element.scrollTop = y - element.clientHeight / 2;
  }, [blob, offset, selected, perRow]);

  // So does the first of the kinds that are shown alone, where none of them is.
  useEffect(() => {
    const element = frame.current;
    if (!element || kinds.size === 0) return;
    const from = Math.floor(element.scrollTop / ROW) * perRow;
    const to = Math.ceil((element.scrollTop + element.clientHeight) / ROW) * perRow;
    const shown = blob.regions.filter((region) => isShown(kinds, region));
    if (shown.some((region) => region.offset < to && end(region) > from)) return;
    element.scrollTop = Math.floor((shown[0]?.offset ?? 0) / perRow) * ROW;
  }, [blob, kinds]);

  const over = (event: MouseEvent): Hovered | undefined => {
    const box = frame.current?.getBoundingClientRect();
    if (!box) return undefined;
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const at = offsetAt(cells, blob.size, x, y + top);
    return at === undefined ? undefined : { region: regionAt(blob, at), offset: at, x, y };
  };
  const most = Math.log2(fit / SHORTEST);
  const zoomTo = (level: number) => setZoom(Math.min(Math.max(level, 0), most));
  const zoomBy = (step: number) => zoomTo(zoom + step);
  const region = blob.regions[selected];
  const zoomIn = () => region && zoomTo(Math.floor(Math.log2(fit / (region.size * 4))));
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const last = blob.regions.length - 1;
    const walk = (to: number) => onSelect(Math.min(Math.max(to, 0), last), "walk");
    const keys: Readonly<Record<string, () => void>> = {
      ArrowRight: () => walk(selected + 1),
      ArrowLeft: () => walk(selected - 1),
      ArrowDown: () => walk(below(blob, selected, perRow)),
      ArrowUp: () => walk(below(blob, selected, -perRow)),
      Home: () => walk(0),
      End: () => walk(last),
      "+": () => zoomBy(1),
      "=": () => zoomBy(1),
      "-": () => zoomBy(-1),
      z: zoomIn,
    };
    const act = keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  };
  return (
    <div class="picture">
      <div class="zoom">
        <button
          type="button"
          onClick={() => zoomBy(-1)}
          disabled={zoom === 0}
          aria-label="Zoom out"
        >
          −
        </button>
        <output aria-label="Zoom">{count(perRow)} bytes a row</output>
        <button
          type="button"
          onClick={() => zoomBy(1)}
          disabled={perRow === SHORTEST}
          aria-label="Zoom in"
        >
          +
        </button>
        <button type="button" onClick={zoomIn} disabled={!region}>
          to the selection
        </button>
      </div>
      <div
        class="frame"
        ref={frame}
        style={{ height: `${Math.ceil(blob.size / fit) * ROW}px` }}
        role="slider"
        tabIndex={0}
        aria-label="The blob as a picture; arrow keys walk its regions, plus, minus and z zoom"
        aria-valuemin={0}
        aria-valuemax={blob.regions.length - 1}
        aria-valuenow={Math.max(selected, 0)}
        aria-valuetext={region ? inWords(region) : "nothing selected"}
        onKeyDown={onKeyDown}
        onScroll={(event) => setTop(event.currentTarget.scrollTop)}
        onMouseMove={(event) => setHovered(over(event))}
        onMouseLeave={() => setHovered(undefined)}
        onClick={(event) => {
          const found = over(event);
          if (found) onSelect(found.region, "new");
        }}
      >
        <canvas ref={canvas} style={{ width: `${width}px`, height: `${height}px` }} />
        <div style={{ height: `${Math.max(cells.rows * ROW - height, 0)}px` }} />
      </div>
      {hovered && <Tip blob={blob} hovered={hovered} width={width} />}
    </div>
  );
}

/** The region that lies `bytes` behind where a region begins, and another one in any case. */
function below(blob: BlobContent, selected: number, bytes: number): number {
  const at = (blob.regions[selected]?.offset ?? 0) + bytes;
  const found = regionAt(blob, Math.min(Math.max(at, 0), blob.size - 1));
  return found === selected ? selected + Math.sign(bytes) : found;
}

function Tip({ blob, hovered, width }: { blob: BlobContent; hovered: Hovered; width: number }) {
  const region = blob.regions[hovered.region];
  if (!region) return null;
  const toLeft = hovered.x > width / 2;
  const side = toLeft ? { right: `${width - hovered.x + 12}px` } : { left: `${hovered.x + 12}px` };
  const part = region.spans[lastAt(region.spans, hovered.offset - region.offset)];
  return (
    <div class="tip" style={{ ...side, top: `${hovered.y + 48}px` }} aria-hidden="true">
      <b>
        <Swatch kind={region.kind} /> {region.name || kindOf(region.kind).label}
      </b>
      <span>
        {hex(hovered.offset, 4)} in {range(region)}, {bytes(region.size)}
      </span>
      {part && <span class="code">{part.name}</span>}
      <Owners region={region} />
    </div>
  );
}

function Owners({ region }: { region: BlobRegion }) {
  const { report } = useModel();
  const shown = region.uses.slice(0, 3).map((use) => report.ops[use.op]);
  return (
    <>
      {shown.map((op) => op && <span key={op.number}>{`op ${op.number}: ${op.title}`}</span>)}
      {region.uses.length > 3 && <span>and {region.uses.length - 3} more</span>}
    </>
  );
}

const range = (region: BlobRegion) => `${hex(region.offset, 4)} to ${hex(end(region), 4)}`;

function inWords(region: BlobRegion): string {
  const owners = region.uses.map((use) => `op ${use.op}`).slice(0, 3);
  const name = region.name || kindOf(region.kind).label;
  return [`${name} at ${hex(region.offset, 4)}`, bytes(region.size), ...owners].join(", ");
}

function relatives(blob: BlobContent, selected: number): ReadonlySet<number> {
  const uses = blob.regions[selected]?.uses ?? [];
  if (uses.length !== 1) return new Set();
  const [first] = uses;
  const indexes = blob.regions.flatMap(({ uses }, index) =>
    uses.some((use) => use.op === first?.op) ? [index] : [],
  );
  return new Set(indexes.filter((index) => index !== selected));
}

/** Changes when what the colours are changes. */
function useTheme(): string | undefined {
  const [theme, setTheme] = useState(document.documentElement.dataset.theme);
  useEffect(() => {
    const observer = new MutationObserver(() => setTheme(document.documentElement.dataset.theme));
    observer.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    return () => observer.disconnect();
  }, []);
  return theme;
}

function Regions({ blob, kinds, selected, onSelect }: KindsProps & Omit<PictureProps, "offset">) {
  const shown = useMemo(
    () => blob.regions.flatMap((region, index) => (isShown(kinds, region) ? [index] : [])),
    [blob, kinds],
  );
  const at = shown.indexOf(selected);
  return (
    <Rows
      label="Regions of the blob"
      className="regions"
      count={shown.length}
      height={26}
      head={["offset", "bytes", "what", "of"]}
      {...(at < 0 ? {} : { selected: at })}
      onSelect={(row, how) => onSelect(shown[row] ?? 0, how)}
      rowClass={(row) => (blob.regions[shown[row] ?? 0]?.kind === "padding" ? "faint" : "")}
    >
      {(row) => <RegionCells region={blob.regions[shown[row] ?? 0]} />}
    </Rows>
  );
}

function RegionCells({ region }: { region: BlobRegion | undefined }) {
  if (!region) return null;
  const [first, ...more] = region.uses;
  return (
    <>
      <span role="gridcell" class="code">
        {hex(region.offset, 4)}
      </span>
      <span role="gridcell" class="right">
        {count(region.size)}
      </span>
      <span role="gridcell" class="cut" title={region.name}>
        <Swatch kind={region.kind} /> {region.name || kindOf(region.kind).label}
      </span>
      <span role="gridcell" class="cut">
        {first && <OpLink op={first.op} />}
        {more.length > 0 && ` and ${plural(more.length, "other")}`}
      </span>
    </>
  );
}

function RegionDetail({ blob, region, at }: { blob: BlobContent; region: BlobRegion; at: number }) {
  const { report } = useModel();
  const programs = new Set(
    region.kind === "insns"
      ? region.uses.flatMap(({ op }) => report.programs[report.ops[op]?.program ?? -1]?.name ?? [])
      : [],
  );
  return (
    <>
      <h2>
        <Swatch kind={region.kind} /> {region.name || kindOf(region.kind).label}
      </h2>
      <p class="muted">{kindOf(region.kind).says}</p>
      <Facts
        items={[
          ["offset", <span class="code">{range(region)}</span>],
          ["size", plural(region.size, "byte")],
          [
            region.uses.length > 1 ? `shared by ${region.uses.length}` : "used by",
            region.uses.length > 0 && (
              <ul class="plain uses">
                {region.uses.slice(0, 40).map((use) => (
                  <li key={`${use.op} ${use.field}`}>
                    <OpLink op={use.op} />
                    {use.field && <small class="code"> {use.field}</small>}
                  </li>
                ))}
                {region.uses.length > 40 && <li>and {region.uses.length - 40} more</li>}
              </ul>
            ),
          ],
          [
            "program",
            programs.size > 0 && (
              <Listed>
                {[...programs].map((name) => (
                  <ProgramLink key={name} name={name} />
                ))}
              </Listed>
            ),
          ],
        ]}
      />
      {region.spans.length > 0 && <Spans blob={blob} region={region} at={at} />}
      <h3>Bytes</h3>
      <HexView blob={blob} region={region} />
    </>
  );
}

function Spans({ blob, region, at }: { blob: BlobContent; region: BlobRegion; at: number }) {
  const { meta } = useModel().report;
  const chosen = lastAt(region.spans, at - region.offset);
  return (
    <>
      <h3>Fields</h3>
      <div class="table-box">
        <table class="spans">
          <thead>
            <tr>
              <th class="right">offset</th>
              <th>field</th>
              <th>value</th>
            </tr>
          </thead>
          <tbody>
            {region.spans.slice(0, 400).map((span, index) => (
              <tr
                key={span.offset}
                class={index === chosen && at !== region.offset ? "chosen" : ""}
              >
                <td class="right code">+{hex(span.offset)}</td>
                <th scope="row" class="code">
                  {span.name}
                </th>
                <td class="code wrap">
                  {fieldText(blob, region.offset + span.offset, span.size, meta.order)}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}

const WORD = 8;
const SHOWN = 32;

/** What a field holds: a number, a name, or else its bytes. */
function fieldText(blob: BlobContent, offset: number, size: number, order: string): string {
  const held = Array.from({ length: Math.min(size, SHOWN) }, (_, i) => byteAt(blob, offset + i));
  const text = String.fromCharCode(...held.map((byte) => byte ?? 0));
  const name = size > WORD ? /^[ -~]+(?=\0*$)/.exec(text)?.[0] : undefined;
  if (name) return `"${name}"`;
  if (size > WORD || held.includes(undefined)) return raw(blob, offset, Math.min(size, SHOWN));
  const digits = (order === "little" ? held.reverse() : held).map(asHex).join("");
  const number = BigInt(`0x${digits || 0}`);
  return number > 9n ? `${number} (0x${number.toString(16)})` : `${number}`;
}

function raw(blob: BlobContent, offset: number, size: number): string {
  return Array.from({ length: size }, (_, index) => asHex(byteAt(blob, offset + index))).join(" ");
}

const asHex = (byte: number | undefined) => byte?.toString(16).padStart(2, "0") ?? "··";

const LINE = 18;
/** Room for 16 bytes and their text. */
const WIDE = 560;
const LINES_SHOWN = 24;
/** As many lines of the same bytes are shown as one. */
const RUN = 16;

/** A line of a dump: `repeats` is how many bytes behind it are the same, line by line. */
interface HexLine {
  readonly offset: number;
  readonly size: number;
  readonly repeats: number;
}

/** Long runs of the same bytes are one line, as hexdump has them. */
function hexLines(blob: BlobContent, region: BlobRegion, perLine: number): readonly HexLine[] {
  const lines: HexLine[] = [];
  let offset = region.offset;
  while (offset < end(region)) {
    const stretch = blob.content[lastAt(blob.content, offset)];
    const until = stretch ? Math.min(stretch.offset + stretch.size, end(region)) : end(region);
    const isLeftOut = !stretch?.raw;
    const size = isLeftOut ? until - offset : Math.min(perLine, end(region) - offset);
    const isSame = !isLeftOut && perLine % (stretch.raw.length / 2) === 0;
    const whole = Math.floor((until - offset) / perLine);
    const repeats = isSame && whole >= RUN ? (whole - 1) * perLine : 0;
    lines.push({ offset, size, repeats });
    offset += size + repeats;
  }
  return lines;
}

function HexView({ blob, region }: { blob: BlobContent; region: BlobRegion }) {
  const frame = useRef<HTMLDivElement>(null);
  const perLine = useSize(frame).width >= WIDE ? 16 : 8;
  const lines = useMemo(() => hexLines(blob, region, perLine), [blob, region, perLine]);
  return (
    <div
      class="hex"
      ref={frame}
      style={{ height: `${Math.min(lines.length, LINES_SHOWN) * LINE + 2}px` }}
    >
      <Rows
        key={region.offset}
        label={`Bytes of ${region.name}`}
        count={lines.length}
        height={LINE}
        className="code"
      >
        {(index) => <HexCells blob={blob} line={lines[index]} />}
      </Rows>
    </div>
  );
}

function HexCells({ blob, line }: { blob: BlobContent; line: HexLine | undefined }) {
  if (!line) return null;
  const { offset, size, repeats } = line;
  const isLeftOut = byteAt(blob, offset) === undefined;
  return (
    <>
      <span role="gridcell" class="muted">
        {hex(offset, 4)}
      </span>
      <span role="gridcell">
        {isLeftOut ? `${bytes(size)} that the page leaves out` : raw(blob, offset, size)}
      </span>
      <span role="gridcell" class="muted">
        {isLeftOut || (repeats ? `and ${bytes(repeats)} of the same` : text(blob, offset, size))}
      </span>
    </>
  );
}

function text(blob: BlobContent, offset: number, size: number): string {
  const printable = (byte: number | undefined) =>
    byte !== undefined && byte >= 32 && byte < 127 ? String.fromCharCode(byte) : "·";
  return Array.from({ length: size }, (_, index) => printable(byteAt(blob, offset + index))).join(
    "",
  );
}
