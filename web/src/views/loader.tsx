import { useMemo } from "preact/hooks";
import { useModel } from "../model";
import { go, type Place } from "../place";
import type { LoaderProgram, Row, TableRecord } from "../report";
import { Code } from "../ui/code";
import { OpLink, To } from "../ui/parts";
import { Rows } from "../ui/rows";
import { bytes, count, hex, plural } from "../words";

export function LoaderView({ place, loader }: { place: Place; loader: LoaderProgram }) {
  const { report } = useModel();
  const isTable = report.meta.form === "table";
  return (
    <div class={`loader ${isTable ? "two" : ""}`}>
      <section aria-labelledby="loader-code">
        <h2 id="loader-code">The loader program</h2>
        <p class="muted">
          {plural(loader.insns, "instruction")}, a context of {bytes(loader.context)}.{" "}
          {isTable
            ? "It walks the op table; its text is nearly the same for all objects."
            : "It makes one call after the other; nothing loops."}
        </p>
        <Code
          label="Instructions of the loader program"
          rows={loader.rows}
          selected={place.insn}
          onSelect={(insn, how) => go({ view: "loader", insn }, how)}
          placeOf={(insn) => ({ view: "loader", insn })}
          labelled={(row) => <Label row={row} />}
          noted={(note) => <Note note={note} />}
        />
      </section>
      {isTable && <OpTable loader={loader} chosen={place.step} />}
    </div>
  );
}

/** "op 3: ProgLoad 'x'" leads to the operation. */
function Label({ row }: { row: Row }) {
  const op = /^op (\d+):/.exec(row.label)?.[1];
  return op === undefined ? <>{row.label}:</> : <OpLink op={Number(op)} />;
}

/** "blob+1328 (attr of op 0)" leads to the byte; offsets are as everywhere on the page. */
function Note({ note }: { note: string }) {
  const found = /^(blob|ctx)\+(\d+)(.*)$/.exec(note);
  if (!found) return <>{note}</>;
  const [, area, digits, rest] = found;
  const offset = Number(digits);
  const text = `${area}+${hex(offset, area === "blob" ? 4 : 0)}`;
  return (
    <>
      {area === "blob" ? <To place={{ view: "blob", blob: offset }}>{text}</To> : text}
      {rest}
    </>
  );
}

interface OwnedStep extends TableRecord {
  readonly op: number | undefined;
  readonly isFirst: boolean;
}

function OpTable({ loader, chosen }: { loader: LoaderProgram; chosen: number | undefined }) {
  const { ops } = useModel().report;
  const steps = useMemo(() => {
    const own = loader.steps.map((step) => ({ ...step, op: undefined }));
    const all = [
      ...own,
      ...ops.flatMap((op) => op.steps.map((step) => ({ ...step, op: op.number }))),
    ];
    all.sort((a, b) => a.number - b.number);
    return all.map(
      (step, index): OwnedStep => ({
        ...step,
        isFirst: index === 0 || all[index - 1]?.op !== step.op,
      }),
    );
  }, [loader, ops]);
  const selected = steps.findIndex((step) => step.number === chosen);
  return (
    <section aria-labelledby="op-table">
      <h2 id="op-table">The op table</h2>
      <p class="muted">
        {count(steps.length)} steps of 16 bytes, in the order in which they are taken.
      </p>
      <Rows
        label="Steps of the op table"
        className="op-table"
        count={steps.length}
        height={24}
        head={["step", "of", "does"]}
        {...(selected < 0 ? {} : { selected })}
        onSelect={(index, how) => go({ view: "loader", step: steps[index]?.number ?? 0 }, how)}
        rowClass={(index) => (steps[index]?.isFirst ? "starts" : "")}
      >
        {(index) => <StepCells step={steps[index]} />}
      </Rows>
    </section>
  );
}

function StepCells({ step }: { step: OwnedStep | undefined }) {
  if (!step) return null;
  return (
    <>
      <span role="gridcell" class="right number">
        {step.number}
      </span>
      <span role="gridcell" class="cut">
        {step.isFirst && (step.op === undefined ? "all" : <OpLink op={step.op} />)}
      </span>
      <span role="gridcell" class="cut" title={step.text}>
        <StepText text={step.text} />
      </span>
    </>
  );
}

/** "skip to 19 if …": the number is a link. */
function StepText({ text }: { text: string }) {
  const skip = /^skip to (\d+)(.*)$/.exec(text);
  if (!skip) return <>{text}</>;
  return (
    <>
      skip to <To place={{ view: "loader", step: Number(skip[1]) }}>{skip[1]}</To>
      {skip[2]}
    </>
  );
}
