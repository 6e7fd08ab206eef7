// What the bytes of a blob are: a name, a hue and a pattern for each kind of region. The hues are
// told apart by colour-blind people (Paul Tol's "bright" and "muted" schemes); kinds of the same
// hue, which belong together, differ by pattern.

export type Pattern = "plain" | "rising" | "falling" | "rows" | "columns" | "dots" | "grid";

export interface Kind {
  readonly label: string;
  readonly hue: string;
  readonly pattern: Pattern;
  readonly says: string;
}

const kind = (label: string, hue: string, pattern: Pattern, says: string): Kind => ({
  label,
  hue,
  pattern,
  says,
});

const KINDS: Readonly<Record<string, Kind>> = {
  attr: kind("attr", "attr", "plain", "the argument of a bpf(2) call: union bpf_attr"),
  btf: kind("BTF", "btf", "plain", "types of the object"),
  insns: kind("instructions", "insns", "plain", "code of programs"),
  func_info: kind("func info", "info", "dots", "which function begins where"),
  line_info: kind("line info", "info", "rows", "which source line begins where"),
  core_relos: kind("CO-RE", "info", "rising", "relocations that the kernel applies"),
  values: kind("values", "values", "plain", "keys and initial values of maps"),
  names: kind("names", "names", "plain", "symbols to look for, licenses"),
  messages: kind("messages", "names", "dots", "what a loader that explains itself prints"),
  records: kind("op table", "records", "rising", "the steps that the walker takes"),
  fd_array: kind("fd array", "state", "columns", "file descriptors that code refers to by index"),
  status: kind("current op", "state", "plain", "which operation is being done"),
  fds: kind("fds", "state", "rows", "file descriptors that were made"),
  found: kind("looked-up ids", "state", "dots", "ids and addresses that were looked up"),
  state: kind("state", "state", "grid", "the walker's state"),
  context: kind("context", "state", "falling", "a copy of what the caller gives"),
  data: kind("data", "values", "falling", "other data"),
  padding: kind("padding", "padding", "falling", "zeros in between"),
};

/** Kinds that are small, and alike for who looks at the whole: one entry of the legend. */
export const LOADER_STATE = {
  label: "loader state",
  kinds: Object.keys(KINDS).filter((name) => KINDS[name]?.hue === "state"),
};

export const kindOf = (name: string): Kind => KINDS[name] ?? kind(name, "padding", "plain", "");

/** What operations make, in words. */
export const MADE_NAME: Readonly<Record<string, string>> = {
  btf: "BTF",
  map: "a map",
  program: "a program",
  link: "a link",
  type: "a type",
  address: "an address",
};

/** Hues of what operations make. */
export const MADE: Readonly<Record<string, string>> = {
  btf: "btf",
  map: "values",
  program: "insns",
  link: "records",
  type: "info",
  address: "names",
};
