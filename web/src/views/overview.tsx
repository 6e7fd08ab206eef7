import { useEffect, useRef } from "preact/hooks";
import { useModel } from "../model";
import type { Place } from "../place";
import type { ExternSummary, MapSummary, ProgramSummary } from "../report";
import { story } from "../story";
import { useMore } from "../ui/more";
import { Listed, MapLink, OpLink, ProgramLink, To } from "../ui/parts";
import { bytes, count, duration, hex, plural } from "../words";
import { differenceCount } from "./differences";
import { Sizes } from "./sizes";

export function Overview({ place }: { place: Place }) {
  const { report } = useModel();
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, so the keyboard must reach it
    <div class="scroll overview" tabIndex={0}>
      <Figures />
      {report.ops.length > 0 && <Story />}
      {report.programs.length > 0 && <Programs />}
      {report.maps.length > 0 && <Maps chosen={place.map} />}
      {(report.externs.length > 0 || report.inputs.length > 0) && <Asks chosen={place.extern} />}
      {report.sizes.length > 0 && <Sizes />}
    </div>
  );
}

function Figures() {
  const { report, failure, cause } = useModel();
  const { blob, loader, simulation, measurement, btf, against } = report;
  const differences = against && differenceCount(against);
  const insns = report.programs.reduce((sum, program) => sum + (program.insns ?? 0), 0);
  // A bundle has a loader, and may have a problem all the same.
  const untrue = report.problem !== "" && loader !== null;
  const failed = (report.problem !== "" && !untrue) || failure !== null;
  return (
    <ul class="figures" aria-label="In figures">
      {untrue && (
        <Figure
          value="not as described"
          name={report.problem}
          note="how far to trust it"
          place={{ view: "problems" }}
          bad
        />
      )}
      {failed && (
        <Figure
          value={failure?.errno ? `fails with ${failure.errno}` : "fails"}
          name={cause}
          note="what went wrong, and what to do"
          place={{ view: "problems" }}
          bad
        />
      )}
      <Figure
        value={count(report.programs.length)}
        name={number(report.programs, "program")}
        note={plural(insns, "instruction")}
        place={{ view: "programs" }}
      />
      <Figure
        value={count(report.maps.length)}
        name={number(report.maps, "map")}
        note={mapTypes(report.maps)}
      />
      {report.ops.length > 0 && (
        <Figure
          value={count(report.ops.length)}
          name={number(report.ops, "operation")}
          note={simulation ? plural(simulation.calls, "call") : ""}
          place={{ view: "replay" }}
        />
      )}
      {blob && (
        <Figure
          value={bytes(blob.size)}
          name="blob"
          note={plural(blob.regions.length, "region")}
          place={{ view: "blob" }}
        />
      )}
      {loader && (
        <Figure
          value={count(loader.insns)}
          name="loader instructions"
          note={`${report.meta.form} form`}
          place={{ view: "loader" }}
        />
      )}
      {btf && <Figure value={count(btf.types)} name="BTF types" note={bytes(btf.size)} />}
      {measurement && (
        <Figure
          value={duration(measurement.total)}
          name={measurement.failure ? "until it failed" : "measured"}
          note={`Linux ${measurement.release}${measurement.failure ? "" : `, median of ${measurement.repeats}`}`}
          place={{ view: "replay" }}
        />
      )}
      {against && differences !== null && (
        <Figure
          value={count(differences)}
          name={differences === 1 ? "difference" : "differences"}
          note={`against ${against.meta.file}`}
          place={{ view: "differences" }}
        />
      )}
    </ul>
  );
}

function Figure(props: {
  value: string;
  name: string;
  note: string;
  place?: Place;
  bad?: boolean;
}) {
  const inner = (
    <>
      <b>{props.value}</b> <span>{props.name}</span>
      {props.note && <small>{props.note}</small>}
    </>
  );
  return (
    <li class={props.bad ? "bad" : ""}>
      {props.place ? <To place={props.place}>{inner}</To> : <div>{inner}</div>}
    </li>
  );
}

const number = (things: readonly unknown[], one: string) => (things.length === 1 ? one : `${one}s`);

function mapTypes(maps: readonly MapSummary[]): string {
  return [...new Set(maps.map((map) => map.type))].join(", ");
}

const OPS_SHOWN = 3;

/** Few operations each; of more the first and the last, which have others between them or not. */
function Ops({ ops }: { ops: readonly number[] }) {
  const [first, last] = [ops[0], ops.at(-1)];
  if (first === undefined || last === undefined) return null;
  if (ops.length <= OPS_SHOWN)
    return (
      <Listed>
        {ops.map((op) => (
          <OpLink op={op} key={op} title={false} />
        ))}
      </Listed>
    );
  const isRow = last - first === ops.length - 1;
  return (
    <>
      <OpLink op={first} title={false} />
      {isRow ? " to " : ` and ${count(ops.length - 2)} more to `}
      <OpLink op={last} title={false} />
    </>
  );
}

function Story() {
  const { report, failure } = useModel();
  const stays = report.ops.filter((op) => op.stays);
  const kept = [
    [stays.filter((op) => op.makes === "map").length, "map"],
    [stays.filter((op) => op.makes === "program").length, "program"],
    [stays.filter((op) => op.makes === "link").length, "link"],
  ] as const;
  const words = kept.filter(([number]) => number > 0).map(([number, one]) => plural(number, one));
  return (
    <section aria-labelledby="story">
      <h2 id="story">
        {failure ? "What it would do to the machine" : "What it does to the machine"}
      </h2>
      <ol class="story">
        {story(report).map(({ text, ops }) => (
          <li key={ops[0]}>
            <span>{text}</span>{" "}
            <small>
              <Ops ops={ops} />
            </small>
          </li>
        ))}
        <li>
          {failure ? (
            <span class="bad">
              keeps nothing: it fails
              {failure.op !== null && (
                <>
                  {" at "}
                  <OpLink op={failure.op} />
                </>
              )}
            </span>
          ) : (
            <span>keeps {words.join(", ") || "nothing"}; releases the rest</span>
          )}
        </li>
      </ol>
    </section>
  );
}

function Programs() {
  const { report } = useModel();
  const [shown, more] = useMore(report.programs.length);
  return (
    <section aria-labelledby="programs">
      <h2 id="programs">Programs</h2>
      <div class="table-box">
        <table>
          <thead>
            <tr>
              <th>name</th>
              <th>type</th>
              <th>section</th>
              <th class="right">instructions</th>
              <th>with</th>
            </tr>
          </thead>
          <tbody>
            {report.programs.slice(0, shown).map((program) => (
              <tr key={program.name}>
                <th scope="row">
                  <ProgramLink name={program.name} />
                </th>
                <td>
                  {program.type}
                  {program.attach_type && <small> {program.attach_type}</small>}
                </td>
                <td class="code">{program.section}</td>
                <td class="right">{program.insns === null ? "unknown" : count(program.insns)}</td>
                <td>
                  {traits(program)}
                  {program.problem && <p class="problem">{program.problem}</p>}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {more}
    </section>
  );
}

export function traits(program: ProgramSummary): string {
  const { sleepable, autoload, subprograms, core_relos } = program;
  return [
    sleepable ? "sleepable" : "",
    autoload ? "" : "autoload disabled",
    subprograms.length ? plural(subprograms.length, "subprogram") : "",
    core_relos ? plural(core_relos, "CO-RE relocation") : "",
  ]
    .filter(Boolean)
    .join(", ");
}

function Maps({ chosen }: { chosen: string | undefined }) {
  const { report } = useModel();
  const users = new Map<number, number[]>();
  for (const op of report.ops)
    if (op.map !== null) users.set(op.map, [...(users.get(op.map) ?? []), op.number]);
  const at = report.maps.findIndex((map) => map.name === chosen);
  const [shown, more] = useMore(report.maps.length, at);
  return (
    <section aria-labelledby="maps">
      <h2 id="maps">Maps</h2>
      <ul class="cards">
        {report.maps.slice(0, shown).map((map, index) => (
          <MapCard
            key={map.name}
            map={map}
            ops={users.get(index) ?? []}
            chosen={map.name === chosen}
          />
        ))}
      </ul>
      {more}
    </section>
  );
}

function MapCard({
  map,
  ops,
  chosen,
}: {
  map: MapSummary;
  ops: readonly number[];
  chosen: boolean;
}) {
  const { report } = useModel();
  const card = useShown<HTMLLIElement>(chosen);
  const loads = new Set(ops);
  const makes = ops.find((op) => report.ops[op]?.makes === "map");
  const programs = (makes === undefined ? [] : (report.ops[makes]?.used_by ?? []))
    .filter((op) => !loads.has(op))
    .flatMap((op) => report.programs[report.ops[op]?.program ?? -1]?.name ?? []);
  return (
    <li class={`card ${chosen ? "chosen" : ""}`} ref={card} tabIndex={-1}>
      <h3 class="code">{map.name}</h3>
      <p>
        <b>{map.type}</b>
        {map.max_entries > 0 && `, ${plural(map.max_entries, "entry", "entries")}`}
      </p>
      {(map.key_size > 0 || map.value_size > 0) && (
        <p>
          <span class="code">{map.key_type || bytes(map.key_size)}</span> →{" "}
          <span class="code">{map.value_type || bytes(map.value_size)}</span>
          {map.value_type && map.value_size > 0 && <small> {bytes(map.value_size)}</small>}
        </p>
      )}
      <p class="chips">
        {map.flags.map((flag) => (
          <span class="chip" key={flag}>
            {flag}
          </span>
        ))}
        {map.frozen && <span class="chip">frozen</span>}
        {map.pinning === "by_name" && <span class="chip">pinned by name</span>}
        {!map.autocreate && <span class="chip">not created by default</span>}
      </p>
      {programs.length > 0 && (
        <p>
          used by{" "}
          <Listed>
            {[...new Set(programs)].map((name) => (
              <ProgramLink name={name} key={name} />
            ))}
          </Listed>
        </p>
      )}
      <MapParts map={map} />
      {ops.length > 0 && (
        <p class="muted">
          <Listed>
            {ops.slice(0, 8).map((op) => (
              <OpLink op={op} key={op} title={false} />
            ))}
          </Listed>
          {ops.length > 8 && ", …"}
        </p>
      )}
    </li>
  );
}

function MapParts({ map }: { map: MapSummary }) {
  const { variables, slots, struct_ops, inner } = map;
  return (
    <>
      {variables.length > 0 && (
        <details open={variables.length <= 6}>
          <summary>{plural(variables.length, "variable")}</summary>
          <ul class="plain code">
            {variables.map((variable) => (
              <li key={variable.offset}>
                {variable.type} <b>{variable.name}</b> <small>+{hex(variable.offset)}</small>
              </li>
            ))}
          </ul>
        </details>
      )}
      {slots.length > 0 && (
        <details open={slots.length <= 6}>
          <summary>{plural(slots.length, "initial element")}</summary>
          <ul class="plain code">
            {slots.map((slot) => (
              <li key={slot.key}>
                [{slot.key}] <Named name={slot.name} />
              </li>
            ))}
          </ul>
        </details>
      )}
      {struct_ops && (
        <details open>
          <summary>struct {struct_ops.type} of the kernel</summary>
          <ul class="plain code">
            {struct_ops.members.map((member) => (
              <li key={member.name}>
                .{member.name}
                {member.program && (
                  <>
                    {" = "}
                    <ProgramLink name={member.program} />
                  </>
                )}
              </li>
            ))}
          </ul>
        </details>
      )}
      {inner && (
        <p>
          of maps such as <b>{inner.type}</b>, {plural(inner.max_entries, "entry", "entries")},{" "}
          {bytes(inner.key_size)} → {bytes(inner.value_size)}
        </p>
      )}
    </>
  );
}

function Named({ name }: { name: string }) {
  const model = useModel();
  if (model.map(name) !== undefined) return <MapLink name={name} />;
  if (model.program(name) !== undefined) return <ProgramLink name={name} />;
  return <>{name}</>;
}

function Asks({ chosen }: { chosen: string | undefined }) {
  const { report } = useModel();
  const at = report.externs.findIndex((extern) => extern.name === chosen);
  const [shown, more] = useMore(report.externs.length, at);
  return (
    <section aria-labelledby="asks">
      <h2 id="asks">What it needs from the machine</h2>
      {report.externs.length > 0 && (
        <div class="table-box">
          <table>
            <thead>
              <tr>
                <th>name</th>
                <th>kind</th>
                <th>type</th>
                <th>used by</th>
              </tr>
            </thead>
            <tbody>
              {report.externs.slice(0, shown).map((extern) => (
                <Extern
                  key={`${extern.kind} ${extern.name}`}
                  extern={extern}
                  chosen={extern.name === chosen}
                />
              ))}
            </tbody>
          </table>
        </div>
      )}
      {more}
      {report.inputs.length > 0 && (
        <>
          <h3>Numbers known only on the target</h3>
          <ul class="plain">
            {report.inputs.map((input) => (
              <li key={input}>{input}</li>
            ))}
          </ul>
        </>
      )}
    </section>
  );
}

function Extern({ extern, chosen }: { extern: ExternSummary; chosen: boolean }) {
  const row = useShown<HTMLTableRowElement>(chosen);
  return (
    <tr class={chosen ? "chosen" : ""} ref={row} tabIndex={-1}>
      <th scope="row" class="code">
        {extern.name}
      </th>
      <td>
        {extern.kind}
        {extern.weak && <small> weak: may be missing</small>}
        {extern.typeless && <small> from kallsyms</small>}
      </td>
      <td class="code">{extern.type}</td>
      <td>
        <Listed>
          {extern.programs.map((name) => (
            <ProgramLink name={name} key={name} />
          ))}
        </Listed>
      </td>
    </tr>
  );
}

/** For what a link may lead to: it comes into sight, and reading goes on there. */
function useShown<Element extends HTMLElement>(chosen: boolean) {
  const ref = useRef<Element>(null);
  useEffect(() => {
    if (!chosen) return;
    ref.current?.scrollIntoView({ block: "center" });
    ref.current?.focus({ preventScroll: true });
  }, [chosen]);
  return ref;
}
