// The report as it is in the page: JSON, gzip, base64.

import type { Report } from "./report";

/** The shape that this page reads (VERSION in src/lskel/explain/report.py). */
const VERSION = 1;

export async function readReport(): Promise<Report> {
  const text = document.getElementById("report")?.textContent ?? "";
  const packed = Uint8Array.from(atob(text.trim()), (char) => char.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const report = (await new Response(stream).json()) as Report;
  if (report.version !== VERSION) {
    throw new Error(`the report has version ${report.version}, the page reads ${VERSION}`);
  }
  return report;
}
