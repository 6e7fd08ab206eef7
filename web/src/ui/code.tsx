// Instructions, beside the source lines that they come from where these are known.

import type { ComponentChildren } from "preact";
import { useCallback, useMemo, useState } from "preact/hooks";
import { useModel } from "../model";
import type { Place } from "../place";
import type { Mark, Row, SourceLine } from "../report";
import { NARROW, useMedia } from "./hooks";
import { To } from "./parts";
import { Rows } from "./rows";

const LINE = 22;
const LABEL = 34;

/** What stands in one line of the listing: where a function begins, a source line, a row. */
interface Line {
  readonly kind: "label" | "source" | "insn";
  readonly row: number;
}

interface CodeProps {
  readonly label: string;
  readonly rows: readonly Row[];
  /** The index of its first slot. */
  readonly selected: number | undefined;
  readonly onSelect: (insn: number, how: "new" | "walk") => void;
  /** Where an instruction of this listing is. */
  readonly placeOf: (insn: number) => Place;
  readonly labelled?: (row: Row) => ComponentChildren;
  readonly noted?: (note: string) => ComponentChildren;
}

export function Code({ label, rows, selected, onSelect, placeOf, labelled, noted }: CodeProps) {
  const narrow = useMedia(NARROW);
  const [hovered, setHovered] = useState<number>();
  const sources = useMemo(() => sourceOfEach(rows), [rows]);
  const hasSource = sources.some((source) => source !== undefined);
  const beside = hasSource && !narrow;
  const lines = useMemo(
    () => layOut(rows, sources, hasSource && narrow),
    [rows, sources, hasSource, narrow],
  );
  const at = useMemo(() => {
    if (selected === undefined) return -1;
    return lines.findIndex(({ kind, row }) => kind === "insn" && holds(rows[row], selected));
  }, [lines, rows, selected]);
  const lit = keyOf(sources[lines[hovered ?? at]?.row ?? -1]);
  const files = useMemo(
    () => new Set(sources.flatMap((source) => source?.file ?? [])).size,
    [sources],
  );

  const cells = (line: Line | undefined) => {
    const row = rows[line?.row ?? -1];
    if (!line || !row) return null;
    const source = starts(rows, sources, line.row) ? sources[line.row] : undefined;
    if (line.kind === "label")
      return (
        <span role="gridcell" class="label">
          {labelled?.(row) ?? `${row.label}:`}
        </span>
      );
    if (line.kind === "source")
      return (
        <span role="gridcell" class="source cut">
          {source && <Source source={source} withFile={files > 1} />}
        </span>
      );
    return (
      <>
        {beside && (
          <span
            role="gridcell"
            class={`source cut ${source ? "" : "goes-on"}`}
            title={sources[line.row]?.text.trim()}
          >
            {source && <Source source={source} withFile={files > 1} />}
          </span>
        )}
        <span role="gridcell" class="index">
          {row.insn}
        </span>
        <span role="gridcell" class="insn">
          <Text row={row} placeOf={placeOf} />
        </span>
        <span role="gridcell" class="marks">
          {row.marks.map((mark) => (
            <Badge mark={mark} placeOf={placeOf} key={`${mark.kind} ${mark.name}`} />
          ))}
          {row.note && row.note !== row.marks[0]?.kind && (
            <small>{noted?.(row.note) ?? row.note}</small>
          )}
        </span>
      </>
    );
  };
  const height = useCallback(
    (index: number) => (lines[index]?.kind === "label" ? LABEL : LINE),
    [lines],
  );
  const rowClass = (index: number) => {
    const line = lines[index];
    if (!line) return "";
    const same = lit !== undefined && line.kind !== "label" && keyOf(sources[line.row]) === lit;
    const first = beside && line.kind === "insn" && starts(rows, sources, line.row);
    return `is-${line.kind} ${same ? "same-source" : ""} ${first ? "starts" : ""}`;
  };
  return (
    <Rows
      label={label}
      className={`listing code ${beside ? "beside" : ""}`}
      count={lines.length}
      height={height}
      {...(at < 0 ? {} : { selected: at })}
      selectable={(index) => lines[index]?.kind === "insn"}
      onSelect={(index, how) => onSelect(rows[lines[index]?.row ?? 0]?.insn ?? 0, how)}
      onHover={setHovered}
      rowClass={rowClass}
    >
      {(index) => cells(lines[index])}
    </Rows>
  );
}

type Sources = readonly (SourceLine | undefined)[];

/** The source line of each row: that of the last row before which has one. */
function sourceOfEach(rows: readonly Row[]): Sources {
  let last: SourceLine | undefined;
  return rows.map((row) => {
    last = row.source ?? (row.label ? undefined : last);
    return last;
  });
}

/** Whether another source line begins with a row; clang names a line anew for each part of it. */
function starts(rows: readonly Row[], sources: Sources, index: number): boolean {
  const isFirst = index === 0 || rows[index]?.label !== "";
  return (
    sources[index] !== undefined && (isFirst || keyOf(sources[index]) !== keyOf(sources[index - 1]))
  );
}

function layOut(rows: readonly Row[], sources: Sources, withSources: boolean): readonly Line[] {
  return rows.flatMap((row, index): readonly Line[] => [
    ...(row.label ? [{ kind: "label", row: index } as const] : []),
    ...(withSources && starts(rows, sources, index)
      ? [{ kind: "source", row: index } as const]
      : []),
    { kind: "insn", row: index },
  ]);
}

const slots = (row: Row) => row.raw.length / 16;

const holds = (row: Row | undefined, insn: number) =>
  row !== undefined && insn >= row.insn && insn < row.insn + slots(row);

const keyOf = (source: SourceLine | undefined) => source && `${source.file}:${source.line}`;

function Source({ source, withFile }: { source: SourceLine; withFile: boolean }) {
  const file = source.file.slice(source.file.lastIndexOf("/") + 1);
  return (
    <>
      <span class="line" title={`${source.file}:${source.line}:${source.column}`}>
        {withFile && file ? `${file}:${source.line}` : source.line}
      </span>
      {source.text.replaceAll("\t", "    ")}
    </>
  );
}

/** An instruction; where it jumps to is a link. */
function Text({ row, placeOf }: { row: Row; placeOf: (insn: number) => Place }) {
  const jump = /^(.*)(goto ([+-]\d+))$/.exec(row.text);
  if (!jump) return <>{row.text}</>;
  const [, before, text, off] = jump;
  const target = row.insn + 1 + Number(off);
  return (
    <>
      {before}
      <To place={placeOf(target)} title={`to instruction ${target}`}>
        {text}
      </To>
    </>
  );
}

const SAYS: Readonly<Record<Mark["kind"], string>> = {
  map: "map",
  value: "value of",
  subprogram: "function",
  kfunc: "kfunc",
  ksym: "ksym",
  core: "CO-RE",
};

export function Badge({ mark, placeOf }: { mark: Mark; placeOf: (insn: number) => Place }) {
  const place = usePlaceOfMark(mark, placeOf);
  const inner = (
    <>
      <b>{SAYS[mark.kind]}</b> {mark.kind === "core" ? <Field name={mark.name} /> : mark.name}
    </>
  );
  const className = `badge ${mark.kind}`;
  return place ? (
    <To place={place} class={className} title={mark.name}>
      {inner}
    </To>
  ) : (
    <span class={className} title={mark.name}>
      {inner}
    </span>
  );
}

/** "byte_off struct task_struct.tgid": where there is no room, the field stays. */
function Field({ name }: { name: string }) {
  const short = name.replace(/\b(struct|union|enum) /, "");
  const at = short.search(/[^.]*$/) - 1;
  if (at < 0) return <span class="cut">{short}</span>;
  return (
    <>
      <span class="cut">{short.slice(0, at)}</span>
      <span>{short.slice(at)}</span>
    </>
  );
}

/** A map's badge leads to the map, a symbol's to what looks it up, a function's to its code. */
function usePlaceOfMark(mark: Mark, placeOf: (insn: number) => Place): Place | undefined {
  const { report } = useModel();
  const map = report.maps[mark.map ?? -1];
  if (map) return { view: "overview", map: map.name };
  if (mark.insn !== null) return placeOf(mark.insn);
  if (mark.op !== null) return { view: "replay", op: mark.op };
  if (mark.kind === "kfunc" || mark.kind === "ksym") return { view: "overview", extern: mark.name };
  return undefined;
}
