// Every ending closes with the same facts for everybody, and they are true: what was read, written and
// zeroed is what the servers saw, the snapshot is where it is said to be, so is the journal.

import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Ending } from "../../src/ending.ts";
import { totalBytes } from "../../src/ranges.ts";
import { VmLock } from "../../src/state/lock/lock.ts";
import { State } from "../../src/state/state.ts";
import { findFreePort } from "../lab/ports.ts";
import { commandLineOf, descendantsOf } from "../lab/process-table.ts";
import type { CliRun } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import type { VddkFaults } from "../lab/vddk/install.ts";
import { until } from "../until.ts";
import { startCommand } from "./cli-commands.ts";
import { LoggedTarget, sourceBytes } from "./ending-truth.ts";

const key = 2000;
const capacityBytes = 4 << 20;
/** Holes there are none: what is compared of the disk is read of its source. */
const fill = { seed: 3, dataRatio: 0.8, zeroRatio: 0.2 };

let lab: Lab;
let vm: LabVm;
let target: LoggedTarget;
/** Writes fail for want of room, as long as the file `noRoom` is there. */
let fullTarget: LoggedTarget;
let noRoom: string;
before(async () => {
  lab = await startLab({
    targets: "direct",
    vms: [{ name: "web01", disks: [{ capacityBytes, fill }] }],
  });
  vm = lab.vm("web01");
  target = await LoggedTarget.start(lab, "target", capacityBytes);
  noRoom = join(lab.dir, "no-room");
  const full = ["error-pwrite=ENOSPC", "error-pwrite-rate=100%", `error-pwrite-file=${noRoom}`];
  fullTarget = await LoggedTarget.start(lab, "full", capacityBytes, {
    filters: ["error"],
    settings: full,
  });
});
after(async () => {
  await target[Symbol.asyncDispose]();
  await fullTarget[Symbol.asyncDispose]();
  await lab.stop();
});

type Document = Ending & {
  error?: { code: string; message: string; remedy: string; signal?: string };
};

interface Case {
  readonly command?: "migrate" | "verify" | "cutover";
  readonly extra?: readonly string[];
  readonly env?: Record<string, string>;
  readonly vddk?: VddkFaults;
  /** Before the run; what it gives is undone after it. */
  readonly prepare?: (place: Place) => unknown;
  /** While it runs. */
  readonly meanwhile?: (run: CliRun, place: Place) => Promise<void>;
  /** Exit code or signal, and the error's code; `completed` for none. */
  readonly exit: number | NodeJS.Signals;
  readonly code: string;
  /** `gone`: whether there was one is vSphere's to say; none is left. */
  readonly snapshot: "removed" | "left" | "gone" | undefined;
  readonly journal?: boolean;
  /** A process that is killed takes its record of reads with it. */
  readonly sourceUnknown?: boolean;
  /** The source goes on with what it was asked before the signal came; nobody waits for its answers. */
  readonly sourceGoesOn?: boolean;
  readonly target?: () => LoggedTarget;
}

/** Where a case takes place: a state directory and a job of its own. */
interface Place {
  readonly stateDir: string;
  readonly jobId: string;
  /** A run that completes before. */
  migrated(): Promise<void>;
}

/** A copy that cannot end by itself, however slow or quick the machine is. */
const slow: VddkFaults = { hang_after: 3 };
const copying = (jobId: string) =>
  until(`${jobId} copies`, () => (lab.vma.jobs.get(jobId)?.bytesTransferred ?? 0) > 0);
const atStage = (jobId: string, stage: string) =>
  until(`${jobId} comes to ${stage}`, () =>
    lab.vma.updatesOf(jobId).some(({ body }) => body.stage === stage),
  );
const stopBy =
  (signal: NodeJS.Signals) =>
  async ({ child }: CliRun, { jobId }: Place) => {
    await copying(jobId);
    child.kill(signal);
  };
/** The stand-in writes down what a handle has read when it closes: of one alone all is known, or nothing. */
const oneHandle = ["--source-connections", "1"];
const interrupted = (signal: NodeJS.Signals): Case => ({
  extra: oneHandle,
  ...{ vddk: slow, meanwhile: stopBy(signal), exit: signal, code: "interrupted" },
  ...{ snapshot: "removed", journal: true, sourceGoesOn: true },
});
const refusedBefore = (exit: number, code: string): Pick<Case, "exit" | "code" | "snapshot"> => ({
  ...{ exit, code, snapshot: undefined },
});
const nowhere = async () => `127.0.0.1:${await findFreePort()}`;

/** The process that serves the source. */
function nbdkitOf({ child }: CliRun): number {
  const found = descendantsOf(child.pid!).findLast(({ pid }) => /nbdkit/.test(commandLineOf(pid)));
  assert.ok(found, "nbdkit runs");
  return found.pid;
}

const cases: Record<string, Case | (() => Promise<Case>)> = {
  // well ended
  "a full copy": { exit: 0, code: "completed", snapshot: "removed" },
  "a full copy that is verified": {
    ...{ extra: ["--verify"], exit: 0, code: "completed", snapshot: "removed" },
  },
  "an incremental copy": {
    prepare: async ({ migrated }) => {
      await migrated();
      await vm.randomWrites(key, { seed: 9, writes: 3 });
    },
    ...{ exit: 0, code: "completed", snapshot: "removed" },
  },
  "nbdkit killed in mid-copy, and started again": {
    vddk: slow,
    meanwhile: async (run, { jobId }) => {
      await copying(jobId);
      process.kill(nbdkitOf(run), "SIGKILL");
      await lab.vddk.setFaults({});
    },
    ...{ exit: 0, code: "completed", snapshot: "removed", sourceUnknown: true },
  },
  "a signal when all is copied": {
    meanwhile: async (run, { jobId }) => {
      await atStage(jobId, "QueryCBT");
      lab.vcenter.faults.add({ name: "slowTasks", value: 1500, count: 1 });
      await atStage(jobId, "Finalize");
      run.child.kill("SIGTERM");
    },
    ...{ exit: 0, code: "completed", snapshot: "removed" },
  },
  // interrupted
  "Ctrl-C in mid-copy": interrupted("SIGINT"),
  "SIGTERM in mid-copy": interrupted("SIGTERM"),
  "SIGHUP in mid-copy": interrupted("SIGHUP"),
  "SIGTERM while the snapshot is made": {
    // Its task is taken back before there is one.
    prepare: () => lab.vcenter.faults.add({ name: "slowSnapshot", value: 8000, count: 1 }),
    meanwhile: async (run) => {
      const made = "CreateSnapshot_Task";
      await until("a snapshot is made", () =>
        lab.vcenter.log.calls.some(({ method }) => method === made),
      );
      run.child.kill("SIGTERM");
    },
    ...{ exit: "SIGTERM", code: "interrupted", snapshot: "gone" },
  },
  "SIGTERM in a verification": {
    ...{ command: "verify", exit: "SIGTERM", code: "interrupted", snapshot: "removed" },
    ...{ extra: oneHandle, sourceGoesOn: true },
    prepare: async ({ migrated }) => {
      await migrated();
      await lab.vddk.setFaults(slow);
    },
    meanwhile: stopBy("SIGTERM"),
  },
  // vSphere
  "no endpoint": async () => ({
    ...{
      extra: ["--vmware-endpoint", await nowhere()],
      ...refusedBefore(3, "vsphere-unreachable"),
    },
  }),
  "another certificate": {
    extra: ["--vmware-thumbprint", Array(20).fill("AB").join(":")],
    ...refusedBefore(3, "vsphere-certificate"),
  },
  "a wrong user": { extra: ["--vmware-username", "nobody"], ...refusedBefore(3, "vsphere-login") },
  "no such VM": {
    extra: ["--vmware-path", "/Datacenter/vm/none"],
    ...refusedBefore(3, "vm-not-found"),
  },
  "no privilege to make a snapshot": {
    prepare: () =>
      lab.vcenter.faults.add({
        name: "permissionDenied",
        value: "VirtualMachine.State.CreateSnapshot",
      }),
    ...refusedBefore(3, "vsphere-permission"),
  },
  "a snapshot that cannot be made": {
    prepare: () => lab.vcenter.faults.add({ name: "snapshotFails" }),
    ...refusedBefore(3, "snapshot-failed"),
  },
  "a snapshot that cannot be removed": {
    prepare: () => lab.vcenter.faults.add({ name: "removeFails" }),
    ...{ exit: 3, code: "vsphere-task-failed", snapshot: "left" },
  },
  "a snapshot that somebody else removes": {
    vddk: slow,
    meanwhile: async (_, { jobId }) => {
      await copying(jobId);
      vm.removeSnapshot(vm.snapshots[0]!.moref);
      await lab.vddk.setFaults({});
    },
    ...{ exit: 3, code: "snapshot-gone", snapshot: "removed", journal: true },
  },
  "a VM that another task keeps busy": {
    extra: ["--busy-timeout", "1s"],
    prepare: () =>
      lab.vcenter.faults.add({
        ...{ name: "callFault", method: "CreateSnapshot_Task" },
        fault: { type: "TaskInProgress", text: "busy" },
      }),
    ...refusedBefore(3, "vsphere-busy"),
  },
  // the source
  "no nbdkit": {
    extra: ["--nbdkit", "/nonexistent/nbdkit"],
    ...refusedBefore(4, "nbdkit-missing"),
  },
  "no VDDK plugin": {
    ...{ extra: ["--vddk-plugin", "/nonexistent.so"], ...refusedBefore(4, "vddk-plugin-missing") },
  },
  "no VDDK library": {
    ...{ extra: ["--vddk-libdir", "/nonexistent"], ...refusedBefore(4, "vddk-library-missing") },
  },
  "a host that refuses NFC": {
    ...{ vddk: { nfc_refuse: 1 }, exit: 4, code: "source-unreachable", snapshot: "removed" },
  },
  "a host that refuses the login": {
    ...{ vddk: { bad_credentials: 1 }, exit: 4, code: "source-login", snapshot: "removed" },
  },
  "a host with another certificate": {
    ...{ vddk: { bad_thumbprint: 1 }, exit: 4, code: "source-thumbprint", snapshot: "removed" },
  },
  "a disk that does not open": {
    ...{ vddk: { open_error: 4 }, exit: 4, code: "source-open", snapshot: "removed" },
  },
  // the target
  "no target server": async () => ({
    extra: ["--nbd-targets", `${key}:nbd://${await nowhere()}/x`],
    ...refusedBefore(5, "target-unreachable"),
  }),
  "no such export": {
    extra: ["--nbd-export-name", "missing"],
    ...refusedBefore(5, "target-refused"),
  },
  "a target that runs full in mid-copy": {
    ...{ target: () => fullTarget, vddk: slow },
    meanwhile: async (_, { jobId }) => {
      await copying(jobId);
      writeFileSync(noRoom, "");
      await lab.vddk.setFaults({});
    },
    ...{ exit: 5, code: "target-io", snapshot: "removed", journal: true },
  },
  "a target for a disk that is not there": {
    ...{ extra: ["--nbd-targets", "2009:nbd://127.0.0.1:1/x"], ...refusedBefore(2, "usage") },
  },
  "a target that somebody wrote to": {
    extra: ["--on-target-mismatch", "fail"],
    prepare: async ({ migrated }) => {
      await migrated();
      await using file = await open(target.file, "r+");
      await file.write(Buffer.alloc(65536, 7), 0, 65536, 0);
    },
    ...{ exit: 5, code: "target-mismatch", snapshot: "removed" },
  },
  // change IDs, state, locks
  "an OMA API that is away": async () => ({
    env: { MIGRATEKIT_JOB_ID: "oma", CLOUDSTACK_API_URL: `http://${await nowhere()}` },
    ...refusedBefore(6, "change-id-read"),
  }),
  "a state directory that is a file": {
    prepare: ({ stateDir }) => writeFileSync(stateDir, ""),
    ...refusedBefore(6, "state-unusable"),
  },
  "a VM that another run holds": {
    prepare: ({ stateDir }) => {
      mkdirSync(stateDir, { mode: 0o700 });
      const place = { endpoint: lab.vcenter.endpoint, vmPath: vm.path };
      return VmLock.acquire(stateDir, vm.record.instanceUuid, place);
    },
    ...refusedBefore(7, "locked"),
  },
  // verify and cutover
  "a verification": {
    ...{ command: "verify", prepare: ({ migrated }) => migrated() },
    ...{ exit: 0, code: "completed", snapshot: "removed" },
  },
  "a verification that finds a difference": {
    command: "verify",
    prepare: async ({ migrated }) => {
      await migrated();
      await using file = await open(target.file, "r+");
      await file.write(Buffer.alloc(512, 7), 0, 512, 1 << 20);
    },
    ...{ exit: 8, code: "verification-mismatch", snapshot: "removed" },
  },
  "a verification of what was never copied": {
    ...{ command: "verify", exit: 6, code: "verification-impossible", snapshot: "removed" },
  },
  "a guest that does not shut down": {
    ...{ command: "cutover", extra: ["--yes", "--shutdown-timeout", "1s"] },
    prepare: () => {
      vm.set({ tools: "running" });
      lab.vcenter.faults.add({ name: "guestIgnoresShutdown" });
    },
    ...{ exit: 3, code: "shutdown-failed", snapshot: "removed" },
  },
  "a cutover": {
    ...{ command: "cutover", extra: ["--yes"], prepare: () => vm.set({ tools: "running" }) },
    ...{ exit: 0, code: "completed", snapshot: "removed" },
  },
};

/** In the words of the closing summary. */
async function play(title: string, given: Case): Promise<void> {
  const at = Object.keys(cases).indexOf(title);
  const jobId = `ending-${at}`;
  const stateDir = join(lab.dir, `state-${at}`);
  const to = given.target?.() ?? target;
  const common = ["--state-dir", stateDir, "--nbd-targets", `${key}:${to.server.uri}`, "--json"];
  const start = (extra: readonly string[], job: string) => {
    const { command = "migrate", env = {} } = given;
    const named = extra.includes("--nbd-export-name")
      ? ["--state-dir", stateDir, "--json"]
      : common;
    const options = { jobId: job, extra: [...named, ...extra] };
    return startCommand(
      lab,
      job === jobId ? command : "migrate",
      vm,
      options,
      job === jobId ? env : {},
    );
  };
  const place: Place = {
    stateDir,
    jobId,
    migrated: async () => {
      const run = await start([], `${jobId}-before`).result;
      assert.equal(run.code, 0, run.stderr);
    },
  };
  lab.vcenter.faults.clear();
  lab.vcenter.log.clear();
  await lab.vddk.setFaults(given.vddk ?? {});
  vm.setPowerState("poweredOn");
  const prepared = await given.prepare?.(place);
  const before = { place: to.place, source: await sourceBytes(lab) };
  const run = start(given.extra ?? [], jobId);
  await Promise.all([given.meanwhile?.(run, place), run.result]);
  const { code, signal, stdout, stderr } = await run.result;
  (prepared as Disposable | undefined)?.[Symbol.dispose]?.();
  lab.vcenter.faults.clear();

  assert.equal(signal ?? code, given.exit, stderr);
  const document = JSON.parse(stdout) as Document;
  assert.equal(document.error?.code ?? document.status, given.code, stdout);
  if (given.snapshot === "gone") assert.notEqual(document.snapshot?.state, "left");
  else assert.equal(document.snapshot?.state, given.snapshot, JSON.stringify(document.snapshot));
  const left = vm.snapshots.map(({ moref }) => moref);
  assert.deepEqual(left, given.snapshot === "left" ? [document.snapshot?.moref] : []);
  for (const moref of left) vm.removeSnapshot(moref);

  const runs = historyOf(stateDir);
  assertTrueFigures(document, given, to, before, await sourceBytes(lab), runs);
  assertSameEverywhere(document, runs, jobId);
  if (document.status !== "completed")
    assert.ok(
      document.next.length > 0 || document.exit_code === 2 || document.exit_code === 7,
      stdout,
    );
  for (const { command } of document.next) assert.match(command ?? "migratekit", /^migratekit/);
}

interface Known {
  readonly endings: readonly (Partial<Ending> | undefined)[];
  readonly journalBytes: number | undefined;
}

function historyOf(stateDir: string): Known | undefined {
  try {
    using state = State.openExisting(stateDir);
    const [known] = state?.listVms() ?? [];
    if (state === undefined || known === undefined) return undefined;
    const journal = state.journals.openJournal(known, key);
    return {
      endings: state.runs.listRuns(known).map(({ ending }) => ending),
      journalBytes: journal && totalBytes(journal.finished),
    };
  } catch {
    return undefined;
  }
}

function assertTrueFigures(
  document: Document,
  given: Case,
  to: LoggedTarget,
  before: { place: number; source: number },
  source: number,
  known: Known | undefined,
): void {
  // A cutover's syncs, the last of which is told in full.
  const { passes = [] } = document as { passes?: Ending[] };
  const totals = [...passes.map(({ total }) => total), document.total];
  const sum = (of: (total: NonNullable<Ending["total"]>) => number) =>
    totals.reduce((all, total) => all + (total ? of(total) : 0), 0);
  assert.deepEqual(
    { written: sum((total) => total.written_bytes), zeroed: sum((total) => total.zeroed_bytes) },
    to.since(before.place),
    "the target saw as much",
  );
  if (!given.sourceUnknown) {
    const verifying = given.command === "verify";
    const read = sum((total) => total.read_bytes + (verifying ? 0 : total.compared_bytes));
    const seen = source - before.source;
    // One that had to be ended by force wrote nothing down.
    if (given.sourceGoesOn) assert.ok(seen === 0 || read <= seen, `${read} of ${seen} read`);
    else assert.equal(read, seen, "so did the source");
  }
  const [disk] = document.disks ?? [];
  assert.equal(disk?.journal?.finished_bytes, known?.journalBytes, "the journal");
  assert.equal(disk?.journal !== undefined, given.journal === true, JSON.stringify(disk));
}

function assertSameEverywhere(document: Document, known: Known | undefined, jobId: string): void {
  const { total, snapshot, next, run_id, disks } = document;
  const last = lab.vma.updatesOf(jobId).at(-1)?.body as Record<string, unknown> | undefined;
  assert.equal(last?.status, document.status === "completed" ? "completed" : "failed");
  assert.equal(last?.exit_code, document.exit_code);
  if (run_id === undefined) return;
  const stored = known?.endings.find((ending) => ending?.run_id === run_id);
  assert.deepEqual(
    { total: stored?.total, snapshot: stored?.snapshot, disks: stored?.disks },
    { total, snapshot, disks: document.command === "verify" ? stored?.disks : disks },
    "the history",
  );
  assert.ok(stored?.next, "what comes next is in the history");
  const { planned_bytes: _, ...figures } = total!;
  const told = Object.fromEntries(Object.keys(figures).map((name) => [name, last?.[name]]));
  assert.deepEqual(told, figures, "the last progress update");
  assert.equal(last?.snapshot, snapshot?.state ?? "none");
  assert.equal(last?.next, next.find(({ command }) => command)?.command);
}

describe("every ending tells the truth", () => {
  for (const [title, given] of Object.entries(cases)) {
    test(title, async () => play(title, typeof given === "function" ? await given() : given));
  }
});
