import { useModel } from "../model";
import type { Failure, Report } from "../report";
import { OpLink, ProgramLink } from "../ui/parts";
import { Rows } from "../ui/rows";
import { plural } from "../words";

/** Whether there is anything to say. */
export function problemCount(report: Report): number {
  const programs = report.programs.filter(
    (program) => program.problem && program.problem !== report.problem,
  );
  const failures = [
    report.problem,
    report.simulation?.failure,
    report.measurement?.failure,
    report.against?.problem,
  ];
  return failures.filter(Boolean).length + programs.length;
}

export function Problems() {
  const { report } = useModel();
  const { simulation, measurement, against, problem, loader } = report;
  const programs = report.programs.filter(
    (program) => program.problem && program.problem !== problem,
  );
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, so the keyboard must reach it
    <div class="scroll problems" tabIndex={0}>
      {problem && (
        <section aria-labelledby="no-loader">
          <h2 id="no-loader">
            {loader ? "Not what its description generates" : "There is no loader for it"}
          </h2>
          <p class="problem">{problem}</p>
        </section>
      )}
      {measurement?.failure && (
        <FailureSection
          id="real"
          title={`On Linux ${measurement.release} it fails`}
          failure={measurement.failure}
        />
      )}
      {simulation?.failure && (
        <FailureSection
          id="simulated"
          title="In the simulator it fails"
          failure={simulation.failure}
        />
      )}
      {programs.length > 0 && (
        <section aria-labelledby="bad-programs">
          <h2 id="bad-programs">{plural(programs.length, "program")} cannot be loaded</h2>
          <ul class="plain">
            {programs.map((program) => (
              <li key={program.name}>
                <ProgramLink name={program.name} />
                <p class="problem">{program.problem}</p>
              </li>
            ))}
          </ul>
        </section>
      )}
      {against?.problem && (
        <section aria-labelledby="no-comparison">
          <h2 id="no-comparison">The other loader</h2>
          <p class="problem">{against.problem}</p>
        </section>
      )}
    </div>
  );
}

const LINE = 20;
const LINES_SHOWN = 30;

function FailureSection({ id, title, failure }: { id: string; title: string; failure: Failure }) {
  const lines = failure.log;
  return (
    <section aria-labelledby={id}>
      <h2 id={id}>{title}</h2>
      <p class="problem">
        {failure.errno && <b>{failure.errno}: </b>}
        {failure.message}
      </p>
      {failure.op !== null && (
        <p>
          The call that failed: <OpLink op={failure.op} />
        </p>
      )}
      {failure.hint && <p>What to do: {failure.hint}</p>}
      {failure.explanation.length > 0 && (
        <>
          <h3>What it means</h3>
          <pre class="told">{failure.explanation.join("\n")}</pre>
        </>
      )}
      {lines.length > 0 && (
        <>
          <h3>What the verifier says</h3>
          <div
            class="log"
            style={{ height: `${Math.min(lines.length, LINES_SHOWN) * LINE + 2}px` }}
          >
            <Rows label="The verifier's log" className="code" count={lines.length} height={LINE}>
              {(index) => <span role="gridcell">{lines[index]}</span>}
            </Rows>
          </div>
        </>
      )}
    </section>
  );
}
