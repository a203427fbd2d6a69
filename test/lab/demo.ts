// `npm run demo`: in the laboratory, a machine with two disks that hold real file systems is migrated
// in full while its guest goes on changing files, then incrementally; an independent program compares
// every byte each time. Nothing is left behind.

import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, rm, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Check, demonstrateBoot } from "./demo-boot.ts";
import { demonstrateCloudStack } from "./demo-cloudstack.ts";
import {
  applyChanges,
  type BlockWrite,
  isFileSystemClean,
  makeFileSystem,
  planChanges,
  readInside,
} from "./demo-disks.ts";
import { demonstrateFleet } from "./demo-fleet.ts";
import {
  bad,
  closingTable,
  type DemoRow,
  dim,
  good,
  logText,
  type SummaryDisk,
  title,
} from "./demo-report.ts";
import { vmaReport } from "./demo-vma.ts";
import { guardFolder } from "./process.ts";
import { startCli } from "./run-cli.ts";
import { type Lab, startLab } from "./start-lab.ts";

const mebibyte = 1_048_576;
const root = join(import.meta.dirname, "../..");
/** A busy ESXi host: what VDDK takes for one read. Without it the copy is over before it is seen. */
const readDelayUs = 25_000;

const disks = [
  {
    key: 2000,
    label: "demo-system",
    capacityBytes: 1536 * mebibyte,
    sources: ["/usr/bin", "/usr/lib/x86_64-linux-gnu", join(root, "node_modules")],
    filesBytes: 400 * mebibyte,
  },
  {
    key: 2001,
    label: "demo-data",
    // No multiple of 64 KiB, nor of the file system's blocks.
    capacityBytes: 768 * mebibyte + 3 * 512,
    sources: [join(root, "node_modules"), "/usr/share"],
    filesBytes: 250 * mebibyte,
  },
];

interface Prepared {
  images: string[];
  /** What the guest does to its disks: while the full copy runs, and after it. */
  during: Map<number, BlockWrite[]>;
  later: Map<number, BlockWrite[]>;
  releaseNote: string;
}

async function makeImages(folder: string): Promise<string[]> {
  console.log(title("Two disks with real files"));
  // The data disk also holds an archive, which the guest will delete.
  const srv = join(folder, "srv");
  await mkdir(srv);
  await writeFile(join(srv, "archive.bin"), randomBytes(24 * mebibyte));
  const images: string[] = [];
  for (const disk of disks) {
    const sources = disk.key === 2001 ? [srv, ...disk.sources] : disk.sources;
    images.push(await makeFileSystem({ ...disk, sources }, folder));
    const capacity = `${Math.floor(disk.capacityBytes / mebibyte)} MiB`;
    console.log(`  ${disk.label}: ${capacity}, ext4, ${disk.filesBytes / mebibyte} MiB of files`);
  }
  return images;
}

async function prepare(folder: string): Promise<Prepared> {
  const images = await makeImages(folder);
  const releaseNote = `Release of ${new Date().toISOString()}\n`;
  const file = async (name: string, content: Buffer | string): Promise<string> => {
    await writeFile(join(folder, name), content);
    return join(folder, name);
  };
  const report = await file("report.bin", randomBytes(9 * mebibyte));
  const program = await file("program.bin", randomBytes(3 * mebibyte));
  const note = await file("release.txt", releaseNote);
  const [system, data] = images as [string, string];
  const dataChanges = { deletes: ["/srv/archive.bin"], writes: [pair(report, "/srv/report.bin")] };
  const systemChanges = {
    deletes: ["/bin/tar", "/bin/bash"],
    writes: [pair(program, "/bin/bash"), pair(note, "/release.txt")],
  };
  return {
    images,
    during: new Map([[2001, await planChanges(data, dataChanges, folder)]]),
    later: new Map([[2000, await planChanges(system, systemChanges, folder)]]),
    releaseNote,
  };
}

function pair(from: string, to: string): [string, string] {
  return [from, to];
}

/** Not /tmp, which may be a part of the memory. */
const parentDir = process.env.TMPDIR ?? "/var/tmp";
const spaceBytes = 6 * 1024 * mebibyte;

async function requireSpace(): Promise<void> {
  const { bavail, bsize } = await statfs(parentDir);
  if (bavail * bsize >= spaceBytes) return;
  const gibibytes = spaceBytes / mebibyte / 1024;
  console.error(
    `The demonstration needs ${gibibytes} GiB free in ${parentDir}; TMPDIR names another folder.`,
  );
  process.exit(1);
}

/** The demonstration ends with exit code 1 when anything is not as it should be. */
class Verdict {
  #failures = 0;

  check(right: boolean, what: string): void {
    console.log(right ? `  ${good("✓")} ${what}` : `  ${bad("✗")} ${what}`);
    if (!right) this.#failures += 1;
  }

  get exitCode(): number {
    return this.#failures === 0 ? 0 : 1;
  }
}

async function waitForTransfer(lab: Lab, jobId: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && lab.vma.jobs.get(jobId)?.stage !== "Transfer")
    await new Promise((resolve) => setTimeout(resolve, 50));
}

async function applyAll(lab: Lab, writes: Map<number, BlockWrite[]>): Promise<void> {
  for (const [key, list] of writes) await applyChanges(lab.vm("demo01"), key, list);
}

/** One run of the real command line: bars at a terminal, what its log says elsewhere. */
async function migrate(lab: Lab, jobId: string, extra: string[], verdict: Verdict) {
  const args = [...lab.migrateArgs(lab.vm("demo01"), { jobId, extra }), "--json"];
  const short = args
    .slice(0, 2)
    .concat("…", "--vmware-path", lab.vm("demo01").path, "--job-id", jobId);
  console.log(dim(`  $ migratekit ${short.join(" ")}`));
  const result = await startCli({
    args,
    env: { CLOUDSTACK_API_URL: lab.oma.url },
    inheritStderr: process.stderr.isTTY,
    onStderrLine: (line) => console.log(dim(`  ${logText(line)}`)),
  }).result;
  verdict.check(result.code === 0, `migratekit ended with exit code ${result.code}`);
  const summary = JSON.parse(result.stdout || "{}") as { disks?: SummaryDisk[] };
  return summary.disks ?? [];
}

async function judge(lab: Lab, summary: SummaryDisk[], run: string, verdict: Verdict) {
  const vm = lab.vm("demo01");
  const rows: DemoRow[] = [];
  for (const disk of summary) {
    const key = Number(disk.disk_id.replace("disk-", ""));
    const { equal, difference, targetFile } = await lab.compareDisk(vm, key);
    verdict.check(
      equal,
      `${disk.disk_id}: cmp finds the target identical to the snapshot ${difference}`,
    );
    verdict.check(
      await isFileSystemClean(targetFile),
      `${disk.disk_id}: e2fsck finds nothing wrong`,
    );
    rows.push({ run, disk, identical: equal });
  }
  return rows;
}

async function fullMigration(lab: Lab, prepared: Prepared, verdict: Verdict): Promise<DemoRow[]> {
  console.log(title("Full migration, while the guest deletes an archive and writes a report"));
  const over = new AbortController();
  const guest = waitForTransfer(lab, "demo-full", over.signal).then(() =>
    applyAll(lab, prepared.during),
  );
  const summary = await migrate(lab, "demo-full", [], verdict);
  over.abort();
  await guest;
  return judge(lab, summary, "full", verdict);
}

async function incrementalMigration(
  lab: Lab,
  prepared: Prepared,
  verdict: Verdict,
): Promise<DemoRow[]> {
  console.log(title("The guest goes on: it replaces a program and deletes another"));
  await applyAll(lab, prepared.later);
  console.log(title("Incremental migration: only what changed since the first snapshot"));
  const summary = await migrate(lab, "demo-incremental", [], verdict);
  const rows = await judge(lab, summary, "incremental", verdict);
  const [system] = lab.targets.disksOf(lab.vm("demo01"));
  const arrived = await readInside(system!.targetFile, "/release.txt");
  verdict.check(arrived === prepared.releaseNote, "the file written last is on the target");
  verdict.check(
    summary.length === 2 && summary.every(({ sync_type }) => sync_type === "incremental"),
    "both disks were copied incrementally",
  );
  return rows;
}

async function demonstrate(folder: string): Promise<number> {
  const verdict = new Verdict();
  const prepared = await prepare(folder);
  const specs = disks.map(({ key, capacityBytes }, index) => ({
    key,
    capacityBytes,
    image: prepared.images[index]!,
  }));
  await using lab = await startLab({
    vms: [{ name: "demo01", folder: "Production", disks: specs }],
    pollIntervalMs: 500,
    parentDir: folder,
  });
  for (const image of prepared.images) await rm(image); // the lab has its own copies
  await lab.vddk.setFaults({ delay_us: readDelayUs });
  console.log(title("The laboratory"));
  console.log(`  vCenter ${lab.vcenter.endpoint}, ${lab.vm("demo01").path}, powered on`);
  console.log(`  VDDK    a stand-in for VMware's library under the real nbdkit plugin`);
  console.log(`  target  nbd-server behind a pair of stunnels, 127.0.0.1:${lab.targets.port}`);
  const full = await fullMigration(lab, prepared, verdict);
  const incremental = await incrementalMigration(lab, prepared, verdict);
  await lab.poller.poll();
  console.log(title("What the VMA API saw"));
  console.log(vmaReport(lab, ["demo-full", "demo-incremental"]));
  verdict.check(lab.vma.violations.length === 0, "every update kept the contract");
  verdict.check(lab.vm("demo01").snapshots.length === 0, "no snapshot is left on the machine");
  console.log(title("What was copied"));
  console.log(closingTable([...full, ...incremental]));
  return verdict.exitCode;
}

type Demonstration = (folder: string, check: Check) => Promise<void>;

async function withVerdict(demonstrate: Demonstration, folder: string): Promise<number> {
  const verdict = new Verdict();
  await demonstrate(folder, (right, what) => verdict.check(right, what));
  return verdict.exitCode;
}

/** Each with what it needs beyond the demonstration without a flag. */
const others: Readonly<Record<string, { needs: string; demonstrate: Demonstration }>> = {
  "--boot": { needs: "--guests", demonstrate: demonstrateBoot },
  "--cloudstack": { needs: "--guests", demonstrate: demonstrateCloudStack },
  "--fleet": { needs: "--test", demonstrate: demonstrateFleet },
};

function setUp(needs: string): void {
  const args = [join(root, ".ci/setup.mjs"), needs];
  const { status } = spawnSync(process.execPath, args, { stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
}

const [flag] = process.argv.slice(2);
const other = flag === undefined ? undefined : others[flag];
if (flag !== undefined && other === undefined) {
  const known = Object.keys(others).join(", ");
  console.error(`The demonstration takes ${known} and nothing else; ${flag} is not known.`);
  process.exit(2);
}
if (other) setUp(other.needs);
const startedAt = performance.now();
await requireSpace();
const folder = await mkdtemp(join(parentDir, "migratekit-demo-"));
guardFolder(folder);
for (const [signal, number] of [["SIGINT", 2] as const, ["SIGTERM", 15] as const])
  process.on(signal, () => process.exit(128 + number)); // the guardian clears up
let exitCode = 1;
try {
  exitCode = other ? await withVerdict(other.demonstrate, folder) : await demonstrate(folder);
} finally {
  await rm(folder, { recursive: true, force: true });
}
const seconds = ((performance.now() - startedAt) / 1000).toFixed(0);
console.log(
  `\n${exitCode === 0 ? good("All is well.") : bad("Something is wrong.")} ${seconds} s\n`,
);
process.exit(exitCode);
