// Made by scripts/gen_report_types.py from src/lskel/explain/report.py.

/** Bytes, as hexadecimal digits. */
export type Hex = string;

/**
 * Everything. `problem` says why there is no loader: `blob`, `loader` are None then.
 *
 * Or it says that the bytes of a bundle are not what its description generates; where they do
 * something else, only what they are and the calls that they make in the simulator is here.
 *
 * What an object consists of (`maps`, `programs`, `listings`, `externs`, `inputs`, `sections`) is
 * there all the same. A loader has no `sections`. `listings` are in the order of `programs`.
 */
export interface Report {
  version: number;
  meta: Meta;
  problem: string;
  btf: BtfSummary | null;
  maps: readonly MapSummary[];
  programs: readonly ProgramSummary[];
  externs: readonly ExternSummary[];
  inputs: readonly string[];
  sections: readonly SectionSummary[];
  blob: Blob | null;
  loader: LoaderProgram | null;
  ops: readonly Op[];
  listings: readonly Listing[];
  sizes: readonly SizeView[];
  simulation: Simulation | null;
  measurement: Measurement | null;
  against: Against | null;
}

/**
 * What was explained; a `header` is that of a light skeleton.
 *
 * `form` is the loader's, `table` or `unrolled`; empty where there is no loader. `file` is the
 * name of the file without its directories.
 */
export interface Meta {
  name: string;
  file: string;
  source: "object" | "bundle" | "header";
  order: "little" | "big";
  license: string;
  form: string;
  lskel: string;
}

/**
 * `size` in bytes; `types` does not count `void`.
 *
 * `needed_by` says in words what cannot be loaded where the kernel rejects it, empty for nothing.
 */
export interface BtfSummary {
  size: number;
  types: number;
  needed_by: string;
}

/**
 * A map. Sizes in bytes; types of key and value are C, empty where there are none.
 *
 * `value_size` is 0 for a struct_ops map: the target knows it. `initial_size` is that of the value
 * it begins with, None where it is neither global data nor an arena with variables; `frozen`
 * whether user space cannot change it later. `pinning` is `none`, `by_name`, or empty for a
 * template. `inner` is the template of a map-in-map. `autocreate` is whether it is created where
 * the caller says nothing; a loader has no other maps.
 */
export interface MapSummary {
  name: string;
  kernel_name: string;
  section: string;
  type: string;
  key_size: number;
  value_size: number;
  max_entries: number;
  flags: readonly string[];
  key_type: string;
  value_type: string;
  numa_node: number;
  map_extra: number;
  pinning: string;
  initial_size: number | null;
  frozen: boolean;
  inner: MapSummary | null;
  slots: readonly SlotSummary[];
  variables: readonly Variable[];
  autocreate: boolean;
  struct_ops: StructOpsSummary | null;
}

/**
 * An initial element of a map: the name of the map or program at `key`.
 */
export interface SlotSummary {
  key: number;
  name: string;
}

/**
 * A variable of a data section: its C type, offset and size in bytes.
 */
export interface Variable {
  name: string;
  type: string;
  offset: number;
  size: number;
}

/**
 * What a struct_ops map registers: a struct of the kernel, matched by its members' names.
 */
export interface StructOpsSummary {
  type: string;
  members: readonly MemberSummary[];
}

/**
 * A member of a struct_ops variable, and the program that it points to; empty for none.
 */
export interface MemberSummary {
  name: string;
  program: string;
}

/**
 * A program; `section` is without the leading ``?``, which `autoload` stands for.
 *
 * `insns` are 8-byte slots, those of the subprograms behind it included; None where the code is
 * not known. `func_info`, `line_info` and `core_relos` are numbers of records. `problem` says why
 * lskel cannot load it, empty where it can.
 */
export interface ProgramSummary {
  name: string;
  section: string;
  kind: string;
  type: string;
  attach_type: string;
  target: string;
  sleepable: boolean;
  autoload: boolean;
  insns: number | null;
  subprograms: readonly string[];
  func_info: number;
  line_info: number;
  core_relos: number;
  problem: string;
}

/**
 * A symbol of the kernel: a `kfunc`, a `ksym` (variable) or a `kconfig` value.
 *
 * `type` is C, empty where the source does not keep it. A `weak` one may be missing. A `typeless`
 * ksym is looked up in kallsyms, other symbols in the kernel's BTF. `programs` are those that
 * refer to it; for configuration values, which all programs share in a map, they are not listed.
 * A loader has the names that it looks for: without a ``___flavor``.
 */
export interface ExternSummary {
  name: string;
  kind: string;
  type: string;
  weak: boolean;
  typeless: boolean;
  programs: readonly string[];
}

/**
 * A section of the ELF file, its size in bytes.
 */
export interface SectionSummary {
  name: string;
  size: number;
}

/**
 * The value of the loader's map; `content` is all of it, in order.
 *
 * `strings` are the first thousand of four characters or more, up to 200 of each.
 */
export interface Blob {
  size: number;
  regions: readonly Region[];
  content: readonly Stretch[];
  strings: readonly Text[];
}

/**
 * A range of the blob; together they are the whole blob, in order, without gaps.
 *
 * `kind` is that of `lskel inspect`: `fd_array`, `status`, `fds`, `found`, `attr`, `btf`,
 * `values`, `names`, `insns`, `func_info`, `line_info`, `core_relos`, `messages`, `state`,
 * `context`, `records`, `padding`, or `data`. Data that several operations share have several
 * `uses`.
 */
export interface Region {
  offset: number;
  size: number;
  kind: string;
  name: string;
  uses: readonly RegionUse[];
  spans: readonly Span[];
}

/**
 * Whose bytes: an operation's, and the field of its attr that points there (may be empty).
 */
export interface RegionUse {
  op: number;
  field: string;
}

/**
 * A named part of a region; `offset` is in the region.
 */
export interface Span {
  offset: number;
  size: number;
  name: string;
}

/**
 * Bytes [offset, offset + size) of the blob: `raw`, repeated up to `size`.
 *
 * Where `raw` is empty they are left out, since there are too many for the page.
 */
export interface Stretch {
  offset: number;
  size: number;
  raw: Hex;
}

/**
 * A string of C in a region's names or values, at `offset` of the blob.
 */
export interface Text {
  offset: number;
  region: number;
  text: string;
}

/**
 * The loader program itself: its code, with labels and notes, and the size of its context.
 *
 * `insns` counts 8-byte slots; `layout` are the fields of the context; `btf` and `func_info` are
 * the bytes that it is loaded with. `steps` are those that belong to no single operation.
 */
export interface LoaderProgram {
  insns: number;
  context: number;
  layout: readonly Span[];
  btf: number;
  func_info: number;
  rows: readonly Row[];
  steps: readonly Step[];
}

/**
 * An instruction: `insn` is the index of its first slot, `raw` its 8 or 16 bytes.
 *
 * Of what a loader keeps in tables, it is an element: `insn` is its number.
 *
 * `label` names what starts here: a function, an operation. `source` is the line that starts here.
 * `core` are its CO-RE relocations. `note` says in words what it refers to, `marks` as data. Each
 * is empty (None) where there is none.
 */
export interface Row {
  insn: number;
  raw: Hex;
  text: string;
  label: string;
  source: SourceLine | null;
  core: readonly CoreRelo[];
  note: string;
  marks: readonly Mark[];
}

/**
 * A line of the source; `text` is as in the file, `line` and `column` count from 1.
 */
export interface SourceLine {
  file: string;
  line: number;
  column: number;
  text: string;
}

/**
 * `kind` is what is asked; `target` of what, such as ``struct task_struct.comm[2]``.
 *
 * `access` is the path as BTF.ext has it: indexes of members and elements, ``0:5:2``. It is ``0``
 * where a type is meant, and the number of an enumerator where that is.
 */
export interface CoreRelo {
  kind: string;
  target: string;
  access: string;
}

/**
 * What an instruction refers to, by a relocation.
 *
 * `kind`: a `map` is its fd, a `value` an address in a map's value, a `subprogram` is called or
 * its address taken. `name` is the map's, function's or symbol's, or the field or type of the
 * kernel. `map` is the number of the map, `op` the operation that makes or finds it, `insn` the
 * instruction of this listing where a subprogram begins.
 */
export interface Mark {
  kind: "map" | "value" | "subprogram" | "kfunc" | "ksym" | "core";
  name: string;
  map: number | null;
  op: number | null;
  insn: number | null;
}

/**
 * A record of a table loader's op table, in words; `number` counts all of them.
 */
export interface Step {
  number: number;
  raw: Hex;
  text: string;
}

/**
 * An operation of the trace.
 *
 * `kind`: `BtfLoad`, `MapCreate`, `MapUpdate`, `MapFreeze`, `BtfFind`, `KsymFind`, `ProgLoad`,
 * `RawTracepointOpen`, `LinkCreate`, `Close`. `title` is short (``MapCreate 'events'``), `phrase`
 * as in errors. `map` and `program` are what it is about. `makes` is what comes of it (a `type` of
 * the kernel comes with the fd of its BTF); `stays` says whether that is handed over at the end.
 * `guard` says when it is left out, in words. `inputs` are numbers that the target knows, in
 * words. `regions` of the blob are its own or shared with others. `calls` are what the simulator
 * recorded, none where it was left out; `steps` its part of the op table, `insns` its instructions
 * [from, to) of an unrolled loader.
 */
export interface Op {
  number: number;
  kind: string;
  title: string;
  phrase: string;
  map: number | null;
  program: number | null;
  makes: "btf" | "map" | "program" | "link" | "type" | "address" | "";
  stays: boolean;
  uses: readonly Use[];
  used_by: readonly number[];
  guard: string;
  inputs: readonly string[];
  regions: readonly number[];
  calls: readonly Call[];
  steps: readonly Step[];
  insns: readonly [number, number] | null;
}

/**
 * Something of the same trace that operation `op` made, and what for.
 *
 * A `value` is the fd of a map or program as an element, a `value type` the kernel's of a
 * struct_ops map. `times` says how often, where code refers to it.
 */
export interface Use {
  op: number;
  role: "btf" | "map" | "value" | "inner map" | "value type" | "program" | "attach target" | "map in code" | "kfunc" | "ksym" | "closes";
  times: number;
}

/**
 * A call that the simulator recorded: number, name (`BPF_MAP_CREATE`, `close`), result.
 *
 * `result` is in words; `failed` says that it is an error.
 */
export interface Call {
  number: number;
  name: string;
  fields: readonly Field[];
  result: string;
  failed: boolean;
}

/**
 * A field of the attr of a call, as the simulated kernel got it, with what it holds in words.
 *
 * `ops` made the fds in it; `region` is what it points to in the blob, None for no pointer.
 * Fields that are 0 or empty are left out.
 */
export interface Field {
  name: string;
  text: string;
  ops: readonly number[];
  region: number | null;
}

/**
 * The code of a program. `region` of the blob holds it, `op` loads it, where there is one.
 *
 * `problem` says why there are no rows or it does not load; `files` are the sources, in the order
 * in which the rows name them.
 */
export interface Listing {
  name: string;
  section: string;
  type: string;
  problem: string;
  region: number | null;
  op: number | null;
  files: readonly string[];
  rows: readonly Row[];
}

/**
 * One way to divide: `by kind`, `by owner` (programs, maps), or an ELF file's `sections`.
 */
export interface SizeView {
  title: string;
  root: SizeNode;
}

/**
 * A box of a treemap: its size is that of its children, where it has any.
 *
 * `kind` is a region's kind, or empty. `regions` are those in a leaf; `map` and `program` what a
 * box is about.
 */
export interface SizeNode {
  name: string;
  kind: string;
  size: number;
  regions: readonly number[];
  map: number | null;
  program: number | null;
  children: readonly SizeNode[];
}

/**
 * The replay in the simulator: the number of its calls, those that no operation made.
 *
 * `failure` is None where it came to its end.
 */
export interface Simulation {
  calls: number;
  others: readonly Call[];
  failure: Failure | null;
}

/**
 * Where and why a replay stopped. `op` is None where it cannot be told.
 *
 * `errno` is the name; `log` the verifier's lines; `explanation` what they mean, in lines that
 * belong below each other.
 */
export interface Failure {
  op: number | null;
  errno: string;
  message: string;
  hint: string;
  explanation: readonly string[];
  log: readonly string[];
}

/**
 * A real direct replay: every operation is a system call (or a search in BTF) of one process.
 *
 * `release` and `machine` are the kernel's. `total` is the median time of all operations together.
 * Where it failed, `times` are of the operations up to the failure.
 */
export interface Measurement {
  release: string;
  machine: string;
  repeats: number;
  total: number;
  times: readonly OpTime[];
  failure: Failure | null;
}

/**
 * How long operation `op` took: the median, shortest and longest of the repeats.
 */
export interface OpTime {
  op: number;
  median: number;
  shortest: number;
  longest: number;
}

/**
 * What differs from another loader, which is B; this report is of A.
 *
 * `maps`, `programs` and `sizes` are empty where B is a light skeleton, of which only its calls
 * are known. `problem` says what else cannot be compared, and why.
 */
export interface Against {
  meta: Meta;
  calls: readonly CallChange[];
  maps: readonly ItemChange[];
  programs: readonly ProgramChange[];
  sizes: readonly SizeChange[];
  problem: string;
}

/**
 * A call on both sides: `a` and `b` are numbers of calls, `op_a` and `op_b` whose they are.
 *
 * `fields` are those that differ.
 */
export interface CallChange {
  title: string;
  status: "same" | "changed" | "only a" | "only b";
  a: number | null;
  b: number | null;
  op_a: number | null;
  op_b: number | null;
  fields: readonly FieldChange[];
}

/**
 * A property that differs; `a` and `b` are what it is on each side, in words.
 */
export interface FieldChange {
  name: string;
  a: string;
  b: string;
}

/**
 * A map on both sides.
 */
export interface ItemChange {
  name: string;
  status: "same" | "changed" | "only a" | "only b";
  fields: readonly FieldChange[];
}

/**
 * A program: as ItemChange, and its code side by side where that differs, else no rows.
 *
 * The rows of A are those of its listing, those of B are `code`.
 */
export interface ProgramChange {
  name: string;
  status: "same" | "changed" | "only a" | "only b";
  fields: readonly FieldChange[];
  rows: readonly DiffRow[];
  code: readonly Row[];
}

/**
 * Instructions side by side, as indexes in the rows of both sides; None where one has none.
 *
 * They are the `same` if they say the same: maps and functions count by name, not by number.
 */
export interface DiffRow {
  a: number | null;
  b: number | null;
  same: boolean;
}

/**
 * Bytes of the blob of a kind, or `loader program`, on each side.
 */
export interface SizeChange {
  kind: string;
  a: number;
  b: number;
}
