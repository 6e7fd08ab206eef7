// Reports made by hand: with nothing in them but what a test says.

import type {
  BlobContent,
  BlobRegion,
  BlobRun,
  ExternSummary,
  Failure,
  LoaderProgram,
  MapSummary,
  Measurement,
  Op,
  OpTime,
  ProgramListing,
  ProgramSummary,
  Report,
  Row,
} from "../src/report";

export const report = (parts: Partial<Report> = {}): Report => ({
  version: 1,
  meta: {
    name: "made",
    file: "made.bpf.o",
    source: "object",
    order: "little",
    license: "GPL",
    form: "table",
    lskel: "0",
  },
  problem: "",
  btf: null,
  maps: [],
  programs: [],
  externs: [],
  inputs: [],
  sections: [],
  blob: null,
  loader: null,
  ops: [],
  listings: [],
  sizes: [],
  simulation: null,
  measurement: null,
  against: null,
  ...parts,
});

export const op = (number: number, kind: string, parts: Partial<Op> = {}): Op => ({
  number,
  kind,
  title: kind,
  phrase: "",
  map: null,
  program: null,
  makes: "",
  stays: false,
  uses: [],
  used_by: [],
  guard: "",
  inputs: [],
  regions: [],
  calls: [],
  steps: [],
  insns: null,
  ...parts,
});

export const program = (name: string, parts: Partial<ProgramSummary> = {}): ProgramSummary => ({
  name,
  section: "xdp",
  kind: "xdp",
  type: "XDP",
  attach_type: "",
  target: "",
  sleepable: false,
  autoload: true,
  insns: 1,
  subprograms: [],
  func_info: 0,
  line_info: 0,
  core_relos: 0,
  problem: "",
  ...parts,
});

export const map = (name: string, parts: Partial<MapSummary> = {}): MapSummary => ({
  name,
  kernel_name: name,
  section: ".maps",
  type: "HASH",
  key_size: 4,
  value_size: 4,
  max_entries: 1,
  flags: [],
  key_type: "",
  value_type: "",
  numa_node: 0,
  map_extra: 0,
  pinning: "none",
  exclusive: "",
  initial_size: null,
  frozen: false,
  inner: null,
  slots: [],
  variables: [],
  autocreate: true,
  struct_ops: null,
  ...parts,
});

export const extern = (name: string, kind: string): ExternSummary => ({
  name,
  kind,
  type: "",
  weak: false,
  typeless: false,
  programs: [],
});

export const row = (insn: number, text: string, parts: Partial<Row> = {}): Row => ({
  insn,
  raw: "00".repeat(8),
  text,
  label: "",
  source: null,
  core: [],
  note: "",
  marks: [],
  ...parts,
});

export const listing = (name: string, rows: readonly Row[]): ProgramListing => ({
  name,
  section: "xdp",
  type: "XDP",
  problem: "",
  region: null,
  op: null,
  files: [],
  rows,
});

export const loader = (parts: Partial<LoaderProgram> = {}): LoaderProgram => ({
  insns: 0,
  context: 0,
  layout: [],
  btf: 0,
  func_info: 0,
  rows: [],
  steps: [],
  ...parts,
});

export const region = (offset: number, size: number, kind = "attr", name = ""): BlobRegion => ({
  offset,
  size,
  kind,
  name,
  uses: [],
  spans: [],
});

export const blob = (
  size: number,
  regions: readonly BlobRegion[],
  content: readonly BlobRun[] = [],
): BlobContent => ({ size, regions, content, strings: [] });

export const failure = (
  op: number | null,
  message: string,
  explanation: string[] = [],
): Failure => ({
  op,
  errno: "EINVAL",
  message,
  hint: "",
  explanation,
  log: [],
});

export const measurement = (
  failure: Failure | null,
  times: readonly OpTime[] = [],
): Measurement => ({ release: "6.1", machine: "x86_64", repeats: 1, total: 0, times, failure });
