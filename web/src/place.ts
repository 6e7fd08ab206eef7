// Where in the page one is: the part of the address behind "#". Back and forward work by it.

export const VIEWS = [
  "overview",
  "blob",
  "replay",
  "programs",
  "loader",
  "differences",
  "problems",
] as const;

export type View = (typeof VIEWS)[number];

/** What is selected in a view; offsets and indexes are as in the report. */
export interface Place {
  readonly view: View;
  readonly map?: string;
  readonly extern?: string;
  readonly blob?: number;
  readonly op?: number;
  readonly program?: string;
  readonly insn?: number;
  readonly step?: number;
}

export function format(place: Place): string {
  const { view, map, extern, blob, op, program, insn, step } = place;
  const at = insn === undefined ? "" : `insn=${insn}`;
  if (map !== undefined) return `#map=${encodeURIComponent(map)}`;
  if (extern !== undefined) return `#extern=${encodeURIComponent(extern)}`;
  if (blob !== undefined) return `#blob=0x${blob.toString(16)}`;
  if (op !== undefined) return `#op=${op}`;
  if (program !== undefined) return `#program=${encodeURIComponent(program)}${at && `&${at}`}`;
  if (step !== undefined) return `#step=${step}`;
  if (at) return `#loader&${at}`;
  return `#${view}`;
}

/** The place of an address; the overview where it says none. */
export function parse(hash: string): Place {
  const fields = new URLSearchParams(hash.replace(/^#/, "").replaceAll("+", "%2B"));
  const text = (name: string) => fields.get(name) || undefined;
  const number = (name: string) => {
    const value = Number(text(name));
    return Number.isSafeInteger(value) && value >= 0 ? value : undefined;
  };
  const found: Partial<Place> = {
    ...known("map", text("map")),
    ...known("extern", text("extern")),
    ...known("blob", number("blob")),
    ...known("op", number("op")),
    ...known("program", text("program")),
    ...known("insn", number("insn")),
    ...known("step", number("step")),
  };
  const named = VIEWS.find((view) => fields.has(view));
  return { view: viewOf(found) ?? named ?? "overview", ...found };
}

function known<Key extends keyof Place>(key: Key, value: Place[Key] | undefined): Partial<Place> {
  return value === undefined ? {} : { [key]: value };
}

function viewOf(found: Partial<Place>): View | undefined {
  if (found.map !== undefined || found.extern !== undefined) return "overview";
  if (found.blob !== undefined) return "blob";
  if (found.op !== undefined) return "replay";
  if (found.program !== undefined) return "programs";
  if (found.step !== undefined || found.insn !== undefined) return "loader";
  return undefined;
}

/** Goes to a place. Walking with the keyboard leaves no trail of places to go back through. */
export function go(place: Place, how: "new" | "walk" = "new"): void {
  const hash = format(place);
  if (hash === window.location.hash) return;
  if (how === "new") window.history.pushState(null, "", hash);
  else window.history.replaceState(null, "", hash);
  // At once, so that the next key finds the page where this one led.
  window.dispatchEvent(new HashChangeEvent("hashchange"));
}
