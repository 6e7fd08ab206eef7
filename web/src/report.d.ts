// Made by scripts/gen_report_types.py from src/lskel/explain/report.py.

/** Bytes, as hexadecimal digits. */
export type Hex = string;

/**
 * The whole report. `problem` is why there is no loader: then `blob` and `loader` are None.
 *
 * Or that the bytes of a bundle do not match its description; if their calls differ, too, the
 * report has only the bytes and their calls in the simulator.
 *
 * The parts of an object (`maps`, `programs`, `listings`, `externs`, `inputs`, `sections`) are
 * always present. A loader has no `sections`. `listings` are in the order of `programs`.
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
  blob: BlobContent | null;
  loader: LoaderProgram | null;
  ops: readonly Op[];
  listings: readonly ProgramListing[];
  sizes: readonly SizeView[];
  simulation: Simulation | null;
  measurement: Measurement | null;
  against: Comparison | null;
}

/**
 * The input of the report; `header` is a light skeleton header.
 *
 * `form` is the loader's, `table` or `unrolled`; empty without a loader. `file` is the file name
 * without directories.
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
 * `needed_by` is what cannot be loaded if the kernel rejects the BTF, in words; empty for nothing.
 */
export interface BtfSummary {
  size: number;
  types: number;
  needed_by: string;
}

/**
 * A map. Sizes in bytes; types of key and value are C types, empty if none.
 *
 * `value_size` is 0 for a struct_ops map: it is known on the target. `initial_size` is the size of
 * the initial value, None for maps other than global data and arenas with variables; `frozen`:
 * user space cannot change it later. `pinning` is `none`, `by_name`, or empty for a template.
 * `inner` is the template of a map-in-map. `autocreate`: created by default; a loader has no other
 * maps. `exclusive` is the only program that may use the map, by name, or by the hash of its code
 * if the loader does not load it; empty for any.
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
  variables: readonly GlobalVariable[];
  autocreate: boolean;
  struct_ops: StructOpsSummary | null;
  exclusive: string;
}

/**
 * An initial element of a map: the name of the map or program at `key`.
 */
export interface SlotSummary {
  key: number;
  name: string;
}

/**
 * A variable of a data section: its C type; offset and size in bytes.
 */
export interface GlobalVariable {
  name: string;
  type: string;
  offset: number;
  size: number;
}

/**
 * The kernel struct that a struct_ops map registers; members are matched by name.
 */
export interface StructOpsSummary {
  type: string;
  members: readonly MemberSummary[];
}

/**
 * A member of a struct_ops variable, and the program it points to; empty for none.
 */
export interface MemberSummary {
  name: string;
  program: string;
}

/**
 * A program; `section` is without the leading ``?``, which is in `autoload`.
 *
 * `insns` are 8-byte slots, including those of the subprograms; None if the code is unknown.
 * `func_info`, `line_info` and `core_relos` are numbers of records. `problem` is why lskel cannot
 * load it, empty if it can.
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
 * A kernel symbol: a `kfunc`, a `ksym` (variable) or a `kconfig` value.
 *
 * `type` is a C type, empty if the source does not have it. A `weak` symbol may be missing. A
 * `typeless` ksym is looked up in kallsyms, other symbols in the kernel's BTF. `programs` refer to
 * it; not listed for kconfig values, which all programs share in a map. A loader has the names
 * that it looks up: without a ``___flavor``.
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
 * A section of the ELF file; size in bytes.
 */
export interface SectionSummary {
  name: string;
  size: number;
}

/**
 * The value of the loader's map; `content` is all of it, in order.
 *
 * `strings` are the first thousand of at least four characters, up to 200 characters of each.
 */
export interface BlobContent {
  size: number;
  regions: readonly BlobRegion[];
  content: readonly BlobRun[];
  strings: readonly BlobString[];
}

/**
 * A range of the blob; together they are the whole blob, in order, without gaps.
 *
 * `kind` is as in `lskel inspect`: `fd_array`, `status`, `fds`, `found`, `attr`, `btf`,
 * `values`, `names`, `insns`, `func_info`, `line_info`, `core_relos`, `messages`, `state`,
 * `context`, `records`, `padding`, or `data`. Data shared by several operations has
 * several `uses`.
 */
export interface BlobRegion {
  offset: number;
  size: number;
  kind: string;
  name: string;
  uses: readonly RegionUse[];
  spans: readonly Span[];
}

/**
 * The owner of bytes: an operation, and the attr field that points there (may be empty).
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
 * If `raw` is empty they are omitted: too many for the page.
 */
export interface BlobRun {
  offset: number;
  size: number;
  raw: Hex;
}

/**
 * A C string in a region's names or values, at `offset` of the blob.
 */
export interface BlobString {
  offset: number;
  region: number;
  text: string;
}

/**
 * The loader program: its code, with labels and notes, and the size of its context.
 *
 * `insns` counts 8-byte slots; `layout` are the fields of the context; `btf` and `func_info` are
 * the bytes that it is loaded with. `steps` are the records that belong to no single operation.
 */
export interface LoaderProgram {
  insns: number;
  context: number;
  layout: readonly Span[];
  btf: number;
  func_info: number;
  rows: readonly Row[];
  steps: readonly TableRecord[];
}

/**
 * An instruction: `insn` is the index of its first slot, `raw` its 8 or 16 bytes.
 *
 * Or a record of a table loader: `insn` is its number.
 *
 * `label` names what starts here: a function, an operation. `source` is the line that starts here.
 * `core` are its CO-RE relocations. `note` is what it refers to in words, `marks` as data. Each
 * is empty (None) if none.
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
 * A relocation: its `kind`, and its `target`, such as ``struct task_struct.comm[2]``.
 *
 * `access` is the path as in BTF.ext: indexes of members and elements, ``0:5:2``; ``0`` for a
 * type, the index of an enumerator for an enumerator.
 */
export interface CoreRelo {
  kind: string;
  target: string;
  access: string;
}

/**
 * What an instruction refers to, by a relocation.
 *
 * `kind`: `map` for its fd, `value` for an address in a map's value, `subprogram` for a call or a
 * function's address. `name` is that of the map, function or symbol, or the kernel field or type.
 * `map` is the number of the map, `op` the operation that creates or finds it, `insn` the
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
export interface TableRecord {
  number: number;
  raw: Hex;
  text: string;
}

/**
 * An operation of the trace.
 *
 * `kind`: `BtfLoad`, `MapCreate`, `MapUpdate`, `MapFreeze`, `BtfFind`, `KsymFind`, `ProgLoad`,
 * `RawTracepointOpen`, `LinkCreate`, `Close`. `title` is short (``MapCreate 'events'``), `phrase`
 * as in errors. `map` and `program` are its objects. `makes` is its result (a kernel `type` comes
 * with the fd of its BTF); `stays`: whether the result is kept at the end. `guard` is when it is
 * skipped, in words. `inputs` are numbers known only on the target, in words. `regions` of the
 * blob are its own or shared. `calls` are what the simulator recorded, empty if skipped; `steps`
 * its records in the op table, `insns` its instructions [from, to) in an unrolled loader.
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
  calls: readonly SimulatedCall[];
  steps: readonly TableRecord[];
  insns: readonly [number, number] | null;
}

/**
 * A use of the result of operation `op`, and its role.
 *
 * `value` is the fd of a map or program as an element, `value type` the kernel type of a
 * struct_ops map. `times` is the number of references in code.
 */
export interface Use {
  op: number;
  role: "btf" | "map" | "value" | "inner map" | "value type" | "program" | "attach target" | "map in code" | "kfunc" | "ksym" | "closes";
  times: number;
}

/**
 * A call that the simulator recorded: number, name (`BPF_MAP_CREATE`, `close`), result.
 *
 * `result` is in words; `failed`: whether it is an error.
 */
export interface SimulatedCall {
  number: number;
  name: string;
  fields: readonly AttrField[];
  result: string;
  failed: boolean;
}

/**
 * A field of a call's attr, as the simulated kernel got it, with its value in words.
 *
 * `ops` created the fds in it; `region` is what it points to in the blob, None if not a pointer.
 * Fields that are 0 or empty are omitted.
 */
export interface AttrField {
  name: string;
  text: string;
  ops: readonly number[];
  region: number | null;
}

/**
 * The code of a program. `region` of the blob holds it and `op` loads it, if any.
 *
 * `problem` is why it has no rows or does not load; `files` are the sources, in the order in which
 * the rows name them.
 */
export interface ProgramListing {
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
 * A division of sizes: `by kind`, `by owner` (programs, maps), or an ELF file's `sections`.
 */
export interface SizeView {
  title: string;
  root: SizeNode;
}

/**
 * A box of a treemap: its size is the sum of its children, if any.
 *
 * `kind` is a region's kind, or empty. `regions` are those in a leaf; `map` and `program` are the
 * objects of a box.
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
 * The replay in the simulator: the number of its calls, and the calls outside operations.
 *
 * `failure` is None if it completed.
 */
export interface Simulation {
  calls: number;
  others: readonly SimulatedCall[];
  failure: Failure | null;
}

/**
 * Where and why a replay stopped. `op` is None if unknown.
 *
 * `errno` is the name; `log` the verifier's lines; `explanation` the lines that explain them.
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
 * A direct replay in the kernel: each operation is a system call (or a BTF lookup).
 *
 * `release` and `machine` are the kernel's. `total` is the median time of all operations together.
 * If it failed, `times` has the operations up to the failure.
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
 * The differences from another loader, B; this report is of A.
 *
 * `maps`, `programs` and `sizes` are empty if B is a light skeleton, of which only the calls are
 * known. `problem` is what else cannot be compared, and why.
 */
export interface Comparison {
  meta: Meta;
  calls: readonly CallChange[];
  maps: readonly ItemChange[];
  programs: readonly ProgramChange[];
  sizes: readonly SizeChange[];
  problem: string;
}

/**
 * A call on both sides: `a` and `b` are call numbers, `op_a` and `op_b` their operations.
 *
 * `fields` are the different fields.
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
 * A property that differs; `a` and `b` are its values on each side, in words.
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
 * A program: as ItemChange, and its code side by side if different, else no rows.
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
 * Instructions side by side, as indexes of rows; None if a side has none.
 *
 * They are the `same` if equal, with maps and functions compared by name, not by number.
 */
export interface DiffRow {
  a: number | null;
  b: number | null;
  same: boolean;
}

/**
 * Bytes of a kind of content of the blob, or of the `loader program`, on each side.
 */
export interface SizeChange {
  kind: string;
  a: number;
  b: number;
}
