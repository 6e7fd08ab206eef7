import { useState } from "preact/hooks";
import { kindOf } from "../kinds";
import { useModel } from "../model";
import type {
  Against,
  CallChange,
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
  "only a": "only in A",
  "only b": "only in B",
};

export function Differences({ against }: { against: Against }) {
  const { report } = useModel();
  const changed = (items: readonly { status: Status }[]) =>
    items.filter((item) => item.status !== "same").length;
  const counts = [
    [changed(against.calls), "call"],
    [changed(against.maps), "map"],
    [changed(against.programs), "program"],
    [against.sizes.filter((size) => size.a !== size.b).length, "size"],
  ] as const;
  const words = counts.filter(([number]) => number > 0).map(([number, one]) => plural(number, one));
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, so the keyboard must reach it
    <div class="scroll differences" tabIndex={0}>
      <section aria-labelledby="versus">
        <h2 id="versus">
          A: <span class="code">{report.meta.file}</span>, B:{" "}
          <span class="code">{against.meta.file}</span>
        </h2>
        <p>{words.length > 0 ? `What differs: ${words.join(", ")}.` : "Nothing differs."}</p>
        <p class="muted">
          A is {about(report.meta)}, B is {about(against.meta)}.
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

const about = (meta: Against["meta"]) =>
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
              <th class="right a">A</th>
              <th class="right b">B</th>
              <th class="right">B − A</th>
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
                <td class="right">{count(a)}</td>
                <td class="right">{count(b)}</td>
                <td class="right">
                  {a === b ? "" : `${b > a ? "+" : "−"}${count(Math.abs(b - a))}`}
                </td>
                <td class="bars">
                  {bar(a)}
                  {bar(b)}
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
  const changed = calls.filter((call) => call.status !== "same");
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
                <th class="right">A</th>
                <th class="right">B</th>
                <th>call</th>
                <th>differs in</th>
              </tr>
            </thead>
            <tbody>
              {shown.map((call) => (
                <tr key={`${call.a} ${call.b}`} class={`is-${call.status.replace(" ", "-")}`}>
                  <td class="right">{call.a}</td>
                  <td class="right">{call.b}</td>
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
                      SAYS[call.status]
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
          <span class="code">{field.name}</span> <Side of="a" value={field.a} />{" "}
          <Side of="b" value={field.b} />
        </li>
      ))}
    </ul>
  );
}

function Side({ of, value }: { of: "a" | "b"; value: string }) {
  return (
    <span class={`side ${of}`}>
      <small>{of.toUpperCase()}</small> <span class="code">{value || "nothing"}</span>
    </span>
  );
}

type Item = Omit<ProgramChange, "rows" | "code">;

function Items({ title, items }: { title: string; items: readonly Item[] }) {
  if (items.length === 0) return null;
  return (
    <section aria-labelledby={`both-${title}`}>
      <h2 id={`both-${title}`}>{title}</h2>
      <ul class="plain items">
        {items.map((item) => (
          <li key={item.name} class={`is-${item.status.replace(" ", "-")}`}>
            <b class="code">{item.name}</b> {SAYS[item.status]}
            <Fields fields={item.fields} />
          </li>
        ))}
      </ul>
    </section>
  );
}

function Programs({ programs }: { programs: readonly ProgramChange[] }) {
  return (
    <>
      <Items title="Programs" items={programs} />
      {programs.map(
        (program) => program.rows.length > 0 && <SideBySide key={program.name} program={program} />,
      )}
    </>
  );
}

const LINE = 22;
const LINES_SHOWN = 24;

function SideBySide({ program }: { program: ProgramChange }) {
  const { rows } = program;
  const listing = useModel().listing(program.name)?.rows ?? [];
  const first = rows.findIndex((row) => !row.same);
  const [at, setAt] = useState(Math.max(first, 0));
  const next = () => {
    const found = rows.findIndex(
      (row, index) => index > at && !row.same && rows[index - 1]?.same !== false,
    );
    setAt(found < 0 ? Math.max(first, 0) : found);
  };
  return (
    <section aria-label={`Code of ${program.name}`}>
      <h3>
        Code of{" "}
        <To place={{ view: "programs", program: program.name }} class="code">
          {program.name}
        </To>{" "}
        <button type="button" onClick={next}>
          next difference
        </button>
      </h3>
      <div class="log" style={{ height: `${Math.min(rows.length, LINES_SHOWN) * LINE + 32}px` }}>
        <Rows
          label={`Code of ${program.name} in A and B`}
          className="code side-by-side"
          count={rows.length}
          height={LINE}
          head={["A", "B"]}
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
  const a = props.ours[props.row?.a ?? -1];
  const b = props.theirs[props.row?.b ?? -1];
  const side = (insn: Row | undefined) => (
    <span role="gridcell" class={`cut ${insn ? "" : "none"}`} title={insn?.text}>
      {insn && (
        <>
          <span class="index">{insn.insn}</span> {insn.text}{" "}
          {insn.note && <small>{insn.note}</small>}
        </>
      )}
    </span>
  );
  return (
    <>
      {side(a)}
      {side(b)}
    </>
  );
}
