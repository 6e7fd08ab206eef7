import { useMemo } from "preact/hooks";
import { useModel } from "../model";
import { go, type Place } from "../place";
import type { ProgramListing, ProgramSummary, Row, SourceLine } from "../report";
import { Badge, Code } from "../ui/code";
import { OpLink, RegionLink, To } from "../ui/parts";
import { count, plural } from "../words";
import { traits } from "./overview";

export function Programs({ place }: { place: Place }) {
  const model = useModel();
  const { programs } = model.report;
  const asked = programs[model.program(place.program ?? "") ?? -1];
  const program = asked ?? programs.find((program) => program.insns) ?? programs[0];
  const name = program?.name ?? "";
  const listing = model.listing(name);
  if (!program || !listing) return null;
  const insn = asked && place.insn;
  return (
    <div class="programs">
      <Outline listing={listing} />
      <div class="program">
        <Head program={program} listing={listing} />
        {listing.rows.length > 0 ? (
          <Code
            key={name}
            label={`Instructions of ${name}`}
            rows={listing.rows}
            selected={insn}
            onSelect={(insn, how) => go({ view: "programs", program: name, insn }, how)}
            placeOf={(insn) => ({ view: "programs", program: name, insn })}
          />
        ) : (
          <p class="empty">Its code is not known.</p>
        )}
        <Selected listing={listing} insn={insn} />
      </div>
    </div>
  );
}

/** All programs, and the functions of the one that is shown. */
function Outline({ listing }: { listing: ProgramListing }) {
  const { programs } = useModel().report;
  const functions = useMemo(() => listing.rows.filter((row) => row.label), [listing]);
  return (
    <nav class="outline" aria-label="Programs">
      <select
        aria-label="Program"
        value={listing.name}
        onChange={(event) => go({ view: "programs", program: event.currentTarget.value })}
      >
        {programs.map((program) => (
          <option key={program.name}>{program.name}</option>
        ))}
      </select>
      <ul>
        {programs.map((program) => (
          <li key={program.name}>
            <a
              href={`#program=${encodeURIComponent(program.name)}`}
              class="code"
              aria-current={program.name === listing.name ? "page" : undefined}
            >
              {program.name}
            </a>
            <small>
              {program.type}
              {program.insns !== null && `, ${count(program.insns)}`}
            </small>
            {program.name === listing.name && functions.length > 1 && (
              <ul>
                {functions.map((row) => (
                  <li key={row.insn}>
                    <To
                      place={{ view: "programs", program: listing.name, insn: row.insn }}
                      class="code"
                    >
                      {row.label}
                    </To>
                    <small>{row.insn}</small>
                  </li>
                ))}
              </ul>
            )}
          </li>
        ))}
      </ul>
    </nav>
  );
}

function Head({ program, listing }: { program: ProgramSummary; listing: ProgramListing }) {
  return (
    <header>
      <h2 class="code">{program.name}</h2>
      <p>
        {program.type}
        {program.attach_type && ` ${program.attach_type}`}, section{" "}
        <span class="code">{program.section}</span>
        {program.insns !== null && `, ${plural(program.insns, "instruction")}`}
        {traits(program) && `, ${traits(program)}`}
      </p>
      <p class="chips">
        {listing.op !== null && <OpLink op={listing.op} />}
        {listing.region !== null && <RegionLink region={listing.region} />}
      </p>
      {(listing.problem || program.problem) && (
        <p class="problem">{listing.problem || program.problem}</p>
      )}
    </header>
  );
}

/** All that is known of the instruction that is selected. */
function Selected({ listing, insn }: { listing: ProgramListing; insn: number | undefined }) {
  const { report } = useModel();
  if (insn === undefined) return null;
  const [row, source] = find(listing, insn);
  if (!row) return null;
  const start = report.blob?.regions[listing.region ?? -1]?.offset;
  return (
    <section class="selected-insn" aria-label="Instruction">
      <p class="code">
        <b>{row.insn}</b> {row.text}
      </p>
      <p class="chips">
        {row.marks.map((mark) => (
          <Badge
            key={`${mark.kind} ${mark.name}`}
            mark={mark}
            placeOf={(insn) => ({ view: "programs", program: listing.name, insn })}
          />
        ))}
        {row.core.map((relo) => (
          <span class="muted" key={relo.access}>
            asks {relo.kind} of <span class="code">{relo.target}</span>, path {relo.access}
          </span>
        ))}
        {row.marks.map(
          (mark) => mark.op !== null && <OpLink key={`${mark.op} ${mark.kind}`} op={mark.op} />,
        )}
      </p>
      <p class="muted">
        <span class="code">{row.raw.replace(/../g, "$& ").trim()}</span>
        {source && `, ${source.file}:${source.line}:${source.column}`}
        {start !== undefined && (
          <>
            {", "}
            <To place={{ view: "blob", blob: start + row.insn * 8 }}>in the blob</To>
          </>
        )}
      </p>
    </section>
  );
}

function find(
  listing: ProgramListing,
  insn: number,
): readonly [Row | undefined, SourceLine | null | undefined] {
  const index = listing.rows.findIndex(
    (row) => insn >= row.insn && insn < row.insn + row.raw.length / 16,
  );
  const before = listing.rows.slice(0, index + 1).findLast((row) => row.source);
  return [listing.rows[index], before?.source];
}
