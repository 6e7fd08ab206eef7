import { useMemo, useState } from "preact/hooks";
import { MADE, MADE_NAME } from "../kinds";
import { type Lane, type Lanes, lanes } from "../lanes";
import { useModel } from "../model";
import { go, type Place } from "../place";
import type { Op, SimulatedCall, Use } from "../report";
import { NARROW, useMedia } from "../ui/hooks";
import { Facts, MapLink, OpLink, ProgramLink, RegionLink, Split, To } from "../ui/parts";
import { Rows } from "../ui/rows";
import { count, duration, plural } from "../words";

const ROW = 30;
/** In narrow windows the result stands below what is done. */
const TALL_ROW = 46;
const COLUMN = 13;
const NODE = 5;

export function Replay({ place }: { place: Place }) {
  const model = useModel();
  const { ops, measurement } = model.report;
  const [hovered, setHovered] = useState<number>();
  const narrow = useMedia(NARROW);
  const drawn = useMemo(() => lanes(ops), [ops]);
  const starts = useMemo(() => {
    let sum = 0;
    return ops.map((op) => {
      const start = sum;
      sum += model.times.get(op.number)?.median ?? 0;
      return start;
    });
  }, [ops, model]);
  const columns = Math.min(drawn.columns, narrow ? 4 : 16);
  const height = narrow ? TALL_ROW : ROW;
  const time = measurement ? ["time"] : [];
  const selected = place.op !== undefined && place.op < ops.length ? place.op : undefined;
  const list = (
    <>
      <Key />
      <Rows
        label="Operations of the replay"
        className={`ops ${measurement ? "timed" : ""}`}
        style={{ "--graph": `${(columns + 1) * COLUMN + 12}px` }}
        count={ops.length}
        height={height}
        head={["op", "uses", ...(narrow ? ["what, result"] : ["what", "result"]), ...time]}
        {...(selected === undefined ? {} : { selected })}
        onSelect={(op, how) => go({ view: "replay", op }, how)}
        onHover={setHovered}
        rowClass={(op) =>
          op === model.failure?.op ? "failed" : model.isBeyond(op) ? "beyond" : ""
        }
      >
        {(index) => {
          const op = ops[index];
          return (
            op && (
              <>
                <span role="gridcell" class="right number">
                  {op.number}
                </span>
                <span role="gridcell" class="graph">
                  <Graph
                    op={op}
                    drawn={drawn}
                    columns={columns}
                    height={height}
                    chosen={hovered ?? selected}
                  />
                </span>
                {narrow ? (
                  <span role="gridcell" class="both-lines">
                    <OpCells op={op} role="none" />
                  </span>
                ) : (
                  <OpCells op={op} role="gridcell" />
                )}
                {measurement && (
                  <Bar op={op} start={starts[index] ?? 0} total={measurement.total} />
                )}
              </>
            )
          );
        }}
      </Rows>
    </>
  );
  const op = selected === undefined ? undefined : ops[selected];
  return (
    <Split class="replay" label="Operation" list={list} {...(op && { close: { view: "replay" } })}>
      {op ? <OpDetail op={op} /> : <Hint />}
    </Split>
  );
}

function OpCells({ op, role }: { op: Op; role: "gridcell" | "none" }) {
  const model = useModel();
  const last = op.calls.at(-1);
  const failure = model.failure?.op === op.number ? model.failure : undefined;
  const isBeyond = model.isBeyond(op.number);
  const simulated = last ? last.result : op.guard ? "not needed here" : "";
  const result = failure?.errno ?? (isBeyond ? "not reached" : simulated);
  const isBad = failure !== undefined || (last?.failed && !isBeyond);
  return (
    <>
      <span role={role} class="cut what" title={op.title}>
        {op.title}
        {op.stays && model.failure === null && <small class="stays"> stays</small>}
      </span>
      <span role={role} class={`cut code result ${isBad ? "bad" : "muted"}`}>
        {result}
      </span>
    </>
  );
}

function Key() {
  const { report } = useModel();
  const made = [...new Set(report.ops.map((op) => op.makes))].filter((makes) => makes !== "");
  return (
    <p class="key">
      {made.map((makes) => (
        <span key={makes}>
          <i class="dot" style={{ "--hue": `var(--${MADE[makes]})` }} aria-hidden="true" /> makes{" "}
          {MADE_NAME[makes]}
        </span>
      ))}
      <span class="muted">a line runs from what makes a thing to all that use it</span>
    </p>
  );
}

interface GraphProps {
  readonly op: Op;
  readonly drawn: Lanes;
  readonly columns: number;
  readonly height: number;
  readonly chosen: number | undefined;
}

/**
 * A row's part of the picture of dependencies; words for it are in the row and beside it.
 *
 * Where there are more lanes than columns, the last column has those of the chosen operation.
 */
function Graph({ op, drawn, columns, height, chosen }: GraphProps) {
  const { report } = useModel();
  const own = drawn.columns > columns ? columns - 1 : columns;
  const isChosen = (lane: Lane) =>
    chosen === lane.maker || report.ops[chosen ?? -1]?.uses.some((use) => use.op === lane.maker);
  const lanes = drawn.at[op.number] ?? [];
  const shown = lanes.filter((lane) => lane.column < own || isChosen(lane));
  const uses = new Set(op.uses.map((use) => use.op));
  const hue = (number: number) => `var(--${MADE[report.ops[number]?.makes ?? ""] ?? "state"})`;
  const column = (number: number) => (Math.min(number, own) + 0.5) * COLUMN + 2;
  const node = (columns + 0.5) * COLUMN + 6;
  const hidden = lanes.filter((lane) => uses.has(lane.maker) && !shown.includes(lane)).length;
  return (
    <svg width={node + NODE + 4} height={height} aria-hidden="true">
      {shown.map((lane) => {
        const x = column(lane.column);
        const starts = lane.maker === op.number;
        const from = starts ? height / 2 : 0;
        const to = lane.last === op.number ? height / 2 : height;
        const joins = starts || uses.has(lane.maker);
        return (
          <g
            key={lane.maker}
            style={{ stroke: hue(lane.maker) }}
            class={chosen !== undefined && !isChosen(lane) ? "faded" : ""}
          >
            <path d={`M${x} ${from}V${to}`} />
            {joins && <path d={`M${x} ${height / 2}H${node - NODE}`} class={starts ? "" : "use"} />}
            {joins && !starts && (
              <circle cx={x} cy={height / 2} r={2.6} style={{ fill: hue(lane.maker) }} />
            )}
          </g>
        );
      })}
      <circle
        class="node"
        cx={node}
        cy={height / 2}
        r={NODE}
        style={op.makes ? { fill: hue(op.number), stroke: hue(op.number) } : {}}
      />
      {hidden > 0 && (
        <text x={column(own) - 3} y={height / 2 - 3} text-anchor="end">
          +{hidden}
        </text>
      )}
    </svg>
  );
}

function Bar({ op, start, total }: { op: Op; start: number; total: number }) {
  const time = useModel().times.get(op.number);
  const percent = (part: number) => `${(100 * part) / Math.max(total, 1)}%`;
  return (
    <span role="gridcell" class="bar">
      {time && (
        <>
          <span class="track" aria-hidden="true">
            <i
              style={{ left: `min(${percent(start)}, 100% - 2px)`, width: percent(time.median) }}
            />
          </span>
          <span>{duration(time.median)}</span>
        </>
      )}
    </span>
  );
}

function Hint() {
  const { report } = useModel();
  const { simulation, measurement } = report;
  const closes = report.ops.filter((op) => op.kind === "Close").length;
  return (
    <div class="hint">
      <h2>{plural(report.ops.length, "operation")}</h2>
      <p>
        From the top: what the loader program does when it runs once in the kernel. Each operation
        is a bpf(2) call, a search, or the closing of what is no longer needed ({count(closes)} of
        them).
      </p>
      {simulation && (
        <p>
          The simulator made {plural(simulation.calls, "call")}.
          {simulation.failure && " Then it failed: see the marked operation."}
          {measurement?.failure && " The kernel did not get as far: see the marked operation."}
        </p>
      )}
      {measurement && (
        <p>
          Times are of a real replay, call by call, on Linux {measurement.release} (
          {measurement.machine}):{" "}
          {measurement.failure
            ? `it failed after ${duration(measurement.total)}.`
            : `medians of ${measurement.repeats}, ${duration(measurement.total)} in all.`}
        </p>
      )}
      <p>Choose an operation to see its inputs, what it uses and what uses it.</p>
      {simulation && simulation.others.length > 0 && (
        <>
          <h3>Calls of no operation</h3>
          {simulation.others.map((call) => (
            <CallFields key={call.number} call={call} />
          ))}
        </>
      )}
    </div>
  );
}

function OpDetail({ op }: { op: Op }) {
  const model = useModel();
  const { report } = model;
  const time = model.times.get(op.number);
  const program = report.programs[op.program ?? -1];
  const map = report.maps[op.map ?? -1];
  return (
    <>
      <h2>
        <span class="number">op {op.number}</span> {op.title}
      </h2>
      <p class="muted">{op.phrase}</p>
      <FailureOf op={op} />
      {model.isBeyond(op.number) && (
        <p class="problem">
          The kernel did not get here: the replay stopped before. What follows is what the simulator
          saw.
        </p>
      )}
      <Facts
        items={[
          [
            "makes",
            op.makes &&
              model.failure === null &&
              `${MADE_NAME[op.makes]}${op.stays ? ", which stays" : ", which is gone at the end"}`,
          ],
          ["map", map && <MapLink name={map.name} />],
          ["program", program && <ProgramLink name={program.name} />],
          ["skipped", op.guard.replace(/^skipped /, "")],
          ["asks for", op.inputs.join(", ")],
          [
            "took",
            time &&
              `${duration(time.median)}${time.longest > time.shortest ? ` (${duration(time.shortest)} to ${duration(time.longest)})` : ""}`,
          ],
          ["uses", op.uses.length > 0 && <Uses uses={op.uses} />],
          ["used by", op.used_by.length > 0 && <UsedBy ops={op.used_by} />],
        ]}
      />
      {op.number === report.measurement?.failure?.op && !report.simulation?.failure && (
        <p class="muted">In the simulator, which has no verifier, it went through:</p>
      )}
      {op.calls.map((call) => (
        <CallFields key={call.number} call={call} />
      ))}
      {op.regions.length > 0 && (
        <>
          <h3>In the blob</h3>
          <p class="chips">
            {op.regions.map((region) => (
              <RegionLink region={region} key={region} />
            ))}
          </p>
        </>
      )}
      {op.steps.length > 0 && (
        <>
          <h3>In the op table</h3>
          <ol class="steps">
            {op.steps.map((step) => (
              <li key={step.number} value={step.number}>
                <To place={{ view: "loader", step: step.number }}>{step.text}</To>
              </li>
            ))}
          </ol>
        </>
      )}
      {op.insns && (
        <p>
          Loader instructions{" "}
          <To place={{ view: "loader", insn: op.insns[0] }}>
            {op.insns[0]} to {op.insns[1] - 1}
          </To>
        </p>
      )}
    </>
  );
}

function FailureOf({ op }: { op: Op }) {
  const { report } = useModel();
  const failures = [
    ["for real", report.measurement?.failure],
    ["in the simulator", report.simulation?.failure],
  ] as const;
  return (
    <>
      {failures.map(
        ([where, failure]) =>
          failure?.op === op.number && (
            <div class="problem" key={where}>
              <p>
                <b>
                  {failure.errno} {where}
                </b>
                : {failure.message}
              </p>
              {failure.hint && <p>{failure.hint}</p>}
              <To place={{ view: "problems" }}>more</To>
            </div>
          ),
      )}
    </>
  );
}

function Uses({ uses }: { uses: readonly Use[] }) {
  return (
    <ul class="plain uses">
      {uses.map((use) => (
        <li key={`${use.op} ${use.role}`}>
          <OpLink op={use.op} />
          <small>
            {" "}
            {use.role === "closes" ? "closed here" : `as ${use.role === "btf" ? "BTF" : use.role}`}
            {use.times > 1 && `, ${count(use.times)} times`}
          </small>
        </li>
      ))}
    </ul>
  );
}

const USERS_SHOWN = 30;

function UsedBy({ ops }: { ops: readonly number[] }) {
  return (
    <ul class="plain uses">
      {ops.slice(0, USERS_SHOWN).map((op) => (
        <li key={op}>
          <OpLink op={op} />
        </li>
      ))}
      {ops.length > USERS_SHOWN && <li>and {ops.length - USERS_SHOWN} more</li>}
    </ul>
  );
}

export function CallFields({ call }: { call: SimulatedCall }) {
  return (
    <div class="call">
      <h3>
        <span class="code">{call.name}</span> <small>call {call.number}</small>
      </h3>
      <div class="table-box">
        <table>
          <tbody>
            {call.fields.map((field) => (
              <tr key={field.name}>
                <th scope="row" class="code">
                  {field.name}
                </th>
                <td>
                  <span class="code wrap">{field.text}</span>
                  {field.ops.map((op) => (
                    <small key={op}>
                      {" "}
                      <OpLink op={op} />
                    </small>
                  ))}
                  {field.region !== null && (
                    <>
                      {" "}
                      <RegionLink region={field.region} />
                    </>
                  )}
                </td>
              </tr>
            ))}
            <tr class={call.failed ? "failed" : ""}>
              <th scope="row">result</th>
              <td class={`code ${call.failed ? "bad" : ""}`}>{call.result}</td>
            </tr>
          </tbody>
        </table>
      </div>
    </div>
  );
}
