// What differs. What this is compared with is the base and stands on the left, as what was there
// before does; the report calls it B, and this A.

import { useMemo, useState } from "preact/hooks";
import { kindOf } from "../kinds";
import { useModel } from "../model";
import type {
  CallChange,
  Comparison,
  DiffRow,
  FieldChange,
  ProgramChange,
  Row,
  SizeChange,
} from "../report";
import { OpLink, Swatch, To } from "../ui/parts";
import { Rows } from "../ui/rows";
import { count, plural } from "../words";

type Status = CallChange["status"];

const SAYS: Readonly<Record<Status, string>> = {
  same: "the same",
  changed: "differs",
  "only a": "added",
  "only b": "removed",
};

const isChanged = ({ status }: { status: Status }) => status !== "same";

const statusClass = (status: Status) => `is-${status.replace(" ", "-")}`;

function counts(against: Comparison) {
  return [
    [against.calls.filter(isChanged).length, "call"],
    [against.maps.filter(isChanged).length, "map"],
    [against.programs.filter(isChanged).length, "program"],
    [against.sizes.filter((size) => size.a !== size.b).length, "size"],
  ] as const;
}

export const differenceCount = (against: Comparison): number =>
  counts(against).reduce((sum, [number]) => sum + number, 0);

export function Differences({ against }: { against: Comparison }) {
  const { report } = useModel();
  const words = counts(against)
    .filter(([number]) => number > 0)
    .map(([number, one]) => plural(number, one));
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, so the keyboard must reach it
    <div class="scroll differences" tabIndex={0}>
      <section aria-labelledby="versus">
        <h2 id="versus">
          Base: <span class="code">{against.meta.file}</span>, this:{" "}
          <span class="code">{report.meta.file}</span>
        </h2>
        <p>{words.length > 0 ? `What differs: ${words.join(", ")}.` : "Nothing differs."}</p>
        <p class="muted">
          The base is {about(against.meta)}, this is {about(report.meta)}.
        </p>
        {against.problem && <p class="problem">{against.problem}</p>}
      </section>
      <Items title="Maps" items={against.maps} />
      <Programs programs={against.programs} />
      <Calls calls={against.calls} />
      {against.sizes.length > 0 && <SizesOfBoth sizes={against.sizes} />}
    </div>
  );
}

const about = (meta: Comparison["meta"]) =>
  [
    meta.source === "header"
      ? "a light skeleton"
      : `${meta.source === "object" ? "an" : "a"} ${meta.source}`,
    meta.form && `${meta.form} form`,
  ]
    .filter(Boolean)
    .join(", ");

function SizesOfBoth({ sizes }: { sizes: readonly SizeChange[] }) {
  const most = Math.max(...sizes.flatMap((size) => [size.a, size.b]), 1);
  const bar = (size: number) => (
    <i style={{ width: `${(100 * size) / most}%` }} aria-hidden="true" />
  );
  return (
    <section aria-labelledby="both-sizes">
      <h2 id="both-sizes">Sizes</h2>
      <div class="table-box">
        <table class="both">
          <thead>
            <tr>
              <th>bytes of</th>
              <th class="right base">base</th>
              <th class="right this">this</th>
              <th class="right">change</th>
              <th>
                <span class="unseen">as bars</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {sizes.map(({ kind, a, b }) => (
              <tr key={kind} class={a === b ? "faint" : ""}>
                <th scope="row">
                  <Swatch kind={kind} /> {kindOf(kind).label}
                </th>
                <td class="right">{count(b)}</td>
                <td class="right">{count(a)}</td>
                <td class="right">
                  {a === b ? "" : `${a > b ? "+" : "−"}${count(Math.abs(a - b))}`}
                </td>
                <td class="bars">
                  {bar(b)}
                  {bar(a)}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

const CALLS_SHOWN = 200;

function Calls({ calls }: { calls: readonly CallChange[] }) {
  const [all, setAll] = useState(false);
  const changed = calls.filter(isChanged);
  const shown = (all ? calls : changed).slice(0, CALLS_SHOWN);
  return (
    <section aria-labelledby="both-calls">
      <h2 id="both-calls">Calls</h2>
      <p>
        {changed.length === 0
          ? `The same ${plural(calls.length, "call")}.`
          : `${count(changed.length)} of ${plural(calls.length, "call")} differ.`}{" "}
        <label>
          <input type="checkbox" checked={all} onChange={() => setAll(!all)} /> show those that are
          the same
        </label>
      </p>
      {shown.length > 0 && (
        <div class="table-box">
          <table>
            <thead>
              <tr>
                <th class="right">base</th>
                <th class="right">this</th>
                <th>call</th>
                <th>differs in</th>
              </tr>
            </thead>
            <tbody>
              {shown.map((call) => (
                <tr key={`${call.a} ${call.b}`} class={statusClass(call.status)}>
                  <td class="right">{call.b}</td>
                  <td class="right">{call.a}</td>
                  <th scope="row">
                    {call.title}
                    {call.op_a !== null && (
                      <small>
                        {" "}
                        <OpLink op={call.op_a} title={false} />
                      </small>
                    )}
                  </th>
                  <td>
                    {call.status === "changed" ? (
                      <Fields fields={call.fields} />
                    ) : (
                      <span class="status">{SAYS[call.status]}</span>
                    )}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

function Fields({ fields }: { fields: readonly FieldChange[] }) {
  return (
    <ul class="plain fields">
      {fields.map((field) => (
        <li key={field.name}>
          <span class="code">{field.name}</span> <Side of="base" value={field.b} />{" "}
          <Side of="this" value={field.a} />
        </li>
      ))}
    </ul>
  );
}

function Side({ of, value }: { of: "base" | "this"; value: string }) {
  return (
    <span class={`side ${of}`}>
      <small>{of}</small> <span class="code">{value || "nothing"}</span>
    </span>
  );
}

type Item = Omit<ProgramChange, "rows" | "code">;

function Items({ title, items }: { title: string; items: readonly Item[] }) {
  if (items.length === 0) return null;
  const same = items.filter((item) => !isChanged(item));
  return (
    <section aria-labelledby={`both-${title}`}>
      <h2 id={`both-${title}`}>{title}</h2>
      <ul class="plain items">
        {items.filter(isChanged).map((item) => (
          <li key={item.name} class={statusClass(item.status)}>
            <b class="code">{item.name}</b> <span class="status">{SAYS[item.status]}</span>
            <Fields fields={item.fields} />
          </li>
        ))}
      </ul>
      {same.length > 0 && (
        <details>
          <summary>{count(same.length)} the same</summary>
          <p class="code wrap">{same.map((item) => item.name).join(", ")}</p>
        </details>
      )}
    </section>
  );
}

function Programs({ programs }: { programs: readonly ProgramChange[] }) {
  return (
    <>
      <Items title="Programs" items={programs} />
      {programs.map((program) => {
        if (program.rows.length === 0) return null;
        const Code = program.status === "only b" ? Removed : SideBySide;
        return <Code key={program.name} program={program} />;
      })}
    </>
  );
}

const LINE = 22;
const LINES_SHOWN = 24;

const heightOf = (lines: number, head: number) =>
  `${Math.min(lines, LINES_SHOWN) * LINE + head + 2}px`;

/** The code of a program that only the base has, for who asks. */
function Removed({ program }: { program: ProgramChange }) {
  const [isOpen, open] = useState(false);
  const { name, code } = program;
  return (
    <section aria-label={`Code of ${name}`}>
      <details onToggle={(event) => open(event.currentTarget.open)}>
        <summary>
          Code of <span class="code">{name}</span>, which was removed:{" "}
          {plural(code.length, "instruction")}
        </summary>
        {isOpen && (
          <div class="log" style={{ height: heightOf(code.length, 0) }}>
            <Rows
              label={`Code of ${name} in the base`}
              className="code"
              count={code.length}
              height={LINE}
            >
              {(index) => <InsnCell insn={code[index]} />}
            </Rows>
          </div>
        )}
      </details>
    </section>
  );
}

function SideBySide({ program }: { program: ProgramChange }) {
  const { rows } = program;
  const listing = useModel().listing(program.name)?.rows ?? [];
  const starts = useMemo(
    () =>
      rows.flatMap((row, index) => (!row.same && rows[index - 1]?.same !== false ? [index] : [])),
    [rows],
  );
  const [at, setAt] = useState(starts[0] ?? 0);
  const next = () => setAt(starts.find((start) => start > at) ?? starts[0] ?? 0);
  return (
    <section aria-label={`Code of ${program.name}`}>
      <h3>
        Code of{" "}
        <To place={{ view: "programs", program: program.name }} class="code">
          {program.name}
        </To>{" "}
        {starts.length > 1 && (
          <button type="button" onClick={next}>
            next of {count(starts.length)} differences
          </button>
        )}
      </h3>
      <div class="log" style={{ height: heightOf(rows.length, 30) }}>
        <Rows
          label={`Code of ${program.name} in the base and in this`}
          className="code side-by-side"
          count={rows.length}
          height={LINE}
          head={["base", "this"]}
          selected={at}
          onSelect={setAt}
          rowClass={(index) => (rows[index]?.same ? "" : "differs")}
        >
          {(index) => <Sides row={rows[index]} ours={listing} theirs={program.code} />}
        </Rows>
      </div>
    </section>
  );
}

function Sides(props: { row: DiffRow | undefined; ours: readonly Row[]; theirs: readonly Row[] }) {
  return (
    <>
      <InsnCell insn={props.theirs[props.row?.b ?? -1]} />
      <InsnCell insn={props.ours[props.row?.a ?? -1]} />
    </>
  );
}

function InsnCell({ insn }: { insn: Row | undefined }) {
  return (
    <span role="gridcell" class={`cut ${insn ? "" : "none"}`} title={insn?.text}>
      {insn && (
        <>
          <span class="index">{insn.insn}</span> {insn.text}{" "}
          {insn.note && <small>{insn.note}</small>}
        </>
      )}
    </span>
  );
}
