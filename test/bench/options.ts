/** What the bench is asked to do, and how large its disks are. */
import { resolve } from "node:path";
import { parseArgs } from "node:util";

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;

/** Sizes of everything that is copied. */
export interface Scale {
  name: "complete" | "quick" | "tiny";
  fullDiskBytes: number;
  /** Settings are swept on a smaller disk; the best ones then meet on the real one. */
  sweepDiskBytes: number;
  mixed: { extents: number; diskBytes: number };
  small: { extents: number; diskBytes: number };
  many: { extents: number; diskBytes: number };
  /** Numbers of 4 KiB extents by which cost and memory per extent are judged. */
  extentCounts: number[];
  pairs: number;
  /** Ends a sweep early; the paired runs are never cut. */
  sweepMaximumMs: number;
  /** In the field: a phase of a copy without end, and a trial of fixed settings. */
  phaseMs: number;
  fieldTrialMs: number;
  /** The most that a cell of the field takes for its sweeps and rounds, beside what it must. */
  fieldMaximumMs: number;
  /** Of what is copied there to its end. */
  fieldShare: number;
}

const scales: Record<Scale["name"], Scale> = {
  complete: {
    name: "complete",
    fullDiskBytes: 2 * GiB,
    sweepDiskBytes: 512 * MiB,
    mixed: { extents: 1500, diskBytes: 6 * GiB },
    small: { extents: 4000, diskBytes: 6 * GiB },
    many: { extents: 100_000, diskBytes: 64 * GiB },
    extentCounts: [1_000, 10_000, 100_000, 1_000_000],
    pairs: 3,
    sweepMaximumMs: 60_000,
    ...{ phaseMs: 10_000, fieldTrialMs: 2500, fieldMaximumMs: 120_000, fieldShare: 1 },
  },
  quick: {
    name: "quick",
    fullDiskBytes: GiB,
    sweepDiskBytes: 256 * MiB,
    mixed: { extents: 300, diskBytes: 2 * GiB },
    small: { extents: 800, diskBytes: 2 * GiB },
    many: { extents: 10_000, diskBytes: 8 * GiB },
    extentCounts: [1_000, 10_000, 100_000],
    pairs: 3,
    sweepMaximumMs: 3_000,
    ...{ phaseMs: 8_000, fieldTrialMs: 2000, fieldMaximumMs: 20_000, fieldShare: 0.25 },
  },
  tiny: {
    name: "tiny",
    fullDiskBytes: 24 * MiB,
    sweepDiskBytes: 8 * MiB,
    mixed: { extents: 6, diskBytes: 32 * MiB },
    small: { extents: 12, diskBytes: 16 * MiB },
    many: { extents: 40, diskBytes: 64 * MiB },
    extentCounts: [20, 100],
    pairs: 1,
    sweepMaximumMs: 300,
    ...{ phaseMs: 4_000, fieldTrialMs: 800, fieldMaximumMs: 1, fieldShare: 1 / 64 },
  },
};

export interface BenchOptions {
  scale: Scale;
  /** At least so many runs of each contender in each cell. */
  pairs: number;
  /** Another checkout with its addon built, whose engine is measured beside ours. */
  before: string | undefined;
  /** Cells by their name, e.g. full/10ms/one/qemu-nbd. */
  only: RegExp | undefined;
  /** Sweeps shrink, and further pairs are run, so that all is done in about this time. */
  budgetMs: number;
  /** Where the results go as JSON; "-": standard output, with the table on standard error. */
  json: string | undefined;
  /** Where performance/measurements.md is; undefined: nothing is written. */
  docs: string | undefined;
  /** Do nothing but list the names of the cells. */
  list: boolean;
}

export const usage = `npm run bench -- [options]
  --quick               smaller disks, fewer pairs, a few cells: about three minutes
  --only REGEX          only cells whose name matches (--list shows them)
  --pairs N             at least N runs of each contender in each cell [3]
  --budget-minutes N    sweeps shrink and pairs grow to fit about this time [35]
  --before FOLDER       another checkout with its addon built: its engine in turn with ours
  --json FILE           results as JSON; "-" for standard output
  --docs DIRECTORY      where performance/measurements.md is written [docs, if the matrix is complete]
  --no-docs             write none
  --list                names of the cells
  --scale NAME          complete, quick or tiny`;

/** @throws TypeError for options that are not understood */
export function parseOptions(argv: string[], defaultDocs: string): BenchOptions {
  const { values } = parseArgs({
    args: argv,
    options: {
      quick: { type: "boolean", default: false },
      only: { type: "string" },
      pairs: { type: "string" },
      "budget-minutes": { type: "string" },
      before: { type: "string" },
      json: { type: "string" },
      docs: { type: "string" },
      "no-docs": { type: "boolean", default: false },
      list: { type: "boolean", default: false },
      scale: { type: "string" },
    },
  });
  const name = values.scale ?? (values.quick ? "quick" : "complete");
  if (!(name in scales)) throw new TypeError(`--scale ${name}: known are ${Object.keys(scales)}`);
  const scale = scales[name as Scale["name"]];
  const complete = scale.name === "complete" && values.only === undefined;
  const docs = values.docs ?? (complete ? defaultDocs : undefined);
  return {
    scale,
    pairs: positive("--pairs", values.pairs) ?? scale.pairs,
    before: values.before === undefined ? undefined : resolve(values.before),
    only: values.only === undefined ? undefined : new RegExp(values.only),
    budgetMs: (positive("--budget-minutes", values["budget-minutes"]) ?? 35) * 60_000,
    json: values.json,
    docs: values["no-docs"] ? undefined : docs,
    list: values.list,
  };
}

function positive(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!(value > 0)) throw new TypeError(`${flag} ${text}: a number above 0 is wanted`);
  return value;
}
