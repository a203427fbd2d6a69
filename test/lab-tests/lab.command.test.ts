// `npm run lab` as scripts use it: one JSON line, everything in it works, nothing stays behind.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { access, open } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import type { LabDescription } from "../lab/describe.ts";
import { accepts } from "../lab/process.ts";
import { startCli } from "../lab/run-cli.ts";
import { until } from "../until.ts";

const labFile = join(import.meta.dirname, "../lab/lab.ts");

interface Started {
  child: ChildProcess;
  lab: LabDescription;
  [Symbol.asyncDispose](): Promise<void>;
}

async function startLabCommand(...args: string[]): Promise<Started> {
  const child = spawn(process.execPath, [labFile, "--json", ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(createInterface(child.stdout), "line")) as [string];
  return {
    child,
    lab: JSON.parse(line) as LabDescription,
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, "exit");
      child.kill("SIGTERM");
      await exited;
    },
  };
}

async function post(lab: LabDescription, path: string, body: object): Promise<unknown> {
  const response = await fetch(`${lab.controlUrl}${path}`, {
    method: "POST",
    body: JSON.stringify(body),
  });
  const answer = await response.json();
  assert.equal(response.status, 200, JSON.stringify(answer));
  return answer;
}

async function get(lab: LabDescription, path: string): Promise<unknown> {
  return (await fetch(`${lab.controlUrl}${path}`)).json();
}

/** The line that operators use, word for word but for endpoint, user, password and job. */
function operatorsLine(lab: LabDescription, jobId: string) {
  return startCli({
    args: [
      ...["migrate", "--vmware-endpoint", lab.endpoint, "--vmware-username", lab.username],
      ...["--vmware-password", lab.password, "--vmware-path", "/Datacenter/vm/MyVM"],
      ...["--nbd-export-name", "migration-vol-uuid", "--job-id", jobId, "--debug"],
    ],
    env: lab.environment,
  }).result;
}

const isGone = (path: string) =>
  access(path).then(
    () => false,
    () => true,
  );

test("the operators' line migrates MyVM, then only what the guest changed, and all APIs agree", async () => {
  await using started = await startLabCommand();
  const { lab } = started;
  const full = await operatorsLine(lab, "job-1");
  assert.equal(full.code, 0, full.stderr);
  assert.match(full.stderr, /📊 Progress update sent to VMA/);
  assert.equal(((await get(lab, "/compare?vm=MyVM")) as { equal: boolean }).equal, true);
  const progress = await (await fetch(`${lab.vmaUrl}/api/v1/progress/job-1`)).json();
  assert.equal((progress as { status: string }).status, "completed");
  assert.equal((progress as { percentage: number }).percentage, 100);
  const row = (await get(lab, "/poller?job=job-1")) as { job: Record<string, unknown> };
  assert.equal(row.job.status, "completed");
  assert.equal(row.job.progress_percent, 100);

  await post(lab, "/guest/random", { vm: "MyVM", key: 2000, seed: 3, writes: 12 });
  const incremental = await operatorsLine(lab, "job-2");
  assert.equal(incremental.code, 0, incremental.stderr);
  assert.equal(((await get(lab, "/compare?vm=MyVM")) as { equal: boolean }).equal, true);
  const second = (await get(lab, "/poller?job=job-2")) as { job: Record<string, unknown> };
  assert.equal(second.job.sync_type, "incremental");
  assert.deepEqual(await get(lab, "/vma/violations"), []);
});

test("a comparison notices a single wrong byte", async () => {
  await using started = await startLabCommand("--targets", "direct");
  const { lab } = started;
  assert.equal((await operatorsLine(lab, "job-1")).code, 0);
  const disk = lab.vms.find(({ name }) => name === "MyVM")!.disks[0]!;
  await flipByte(disk.targetFile, 12_345_678);
  const { equal, disks } = (await get(lab, "/compare?vm=MyVM")) as {
    equal: boolean;
    disks: { difference: string }[];
  };
  assert.equal(equal, false);
  assert.match(disks[0]!.difference, /(byte|char) 12345679/);
});

async function flipByte(path: string, offset: number): Promise<void> {
  await using file = await open(path, "r+");
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, offset);
  await file.write(Buffer.from([byte[0]! ^ 1]), 0, 1, offset);
}

for (const signal of ["SIGTERM", "SIGINT", "SIGKILL"] as const) {
  test(`${signal} ends the lab and nothing of it is left`, async () => {
    await using started = await startLabCommand();
    const { child, lab } = started;
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
    await until("the folder is gone", () => isGone(lab.dir));
    await until("nobody listens", async () => !(await accepts(lab.nbdPort)));
    assert.equal(await accepts(Number(new URL(lab.vmaUrl).port)), false);
  });
}

test("the lab ends when the process that started it is gone", async () => {
  const script = `
    const { spawn } = require("node:child_process");
    spawn(process.execPath, [${JSON.stringify(labFile)}, "--json"], { stdio: "inherit" });
    setInterval(() => {}, 1000);`;
  const parent = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = (await once(createInterface(parent.stdout), "line")) as [string];
  const lab = JSON.parse(line) as LabDescription;
  parent.kill("SIGKILL");
  await until("the folder is gone", () => isGone(lab.dir));
});

test("the laboratory has a CloudStack, which its control API describes and makes fail", async () => {
  await using started = await startLabCommand("--no-boot");
  const { lab } = started;
  const cloud = lab.cloudStack!;
  assert.deepEqual([cloud.zones, cloud.machines, cloud.violations], [["zone-1"], [], []]);
  const ask = async () => (await fetch(`${cloud.endpoint}?command=listZones&response=json`)).status;
  assert.equal(await ask(), 401);
  await post(lab, "/cloudstack/fault", { name: "http503", count: 1 });
  assert.equal(await ask(), 503);
  await post(lab, "/cloudstack/refuse", {});
  await assert.rejects(ask(), /fetch failed/);
  await post(lab, "/cloudstack/accept", {});
  assert.equal(await ask(), 401);
  const calls = (await get(lab, "/cloudstack/calls")) as { outcome: number }[];
  assert.deepEqual(
    calls.map(({ outcome }) => outcome),
    [401, 503, 401],
  );
});
