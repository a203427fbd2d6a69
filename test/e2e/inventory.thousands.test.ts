// 5,000 VMs: what an inventory of them costs. Times are printed and not judged; memory has a bound.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { readVmList } from "../../src/migration/list/read-list.ts";
import { startCli } from "../lab/run-cli.ts";
import { type InventoryDocument, type InventoryLab, startInventoryLab } from "./inventory-lab.ts";

const count = 5000;
const residentMiBMax = 200;
const gibibyte = 2 ** 30;

let lab: InventoryLab;
before(async () => {
  lab = await startInventoryLab({
    vms: Array.from({ length: count }, (_, at) => ({
      name: `vm-${String(at).padStart(4, "0")}`,
      folder: `Team ${at % 50}/Service ${at % 7}`,
      paper: true,
      tools: at % 10 === 0 ? "notRunning" : "running",
      template: at % 100 === 0,
      disks: Array.from({ length: 1 + (at % 3) }, (_, disk) => ({
        capacityBytes: (40 + disk) * gibibyte,
      })),
    })),
  });
});
after(async () => await lab?.[Symbol.asyncDispose]());

/** Its result, and the most memory that was resident, in MiB: as the kernel has it until the process ends. */
async function measured(...args: string[]) {
  const { child, result } = startCli({ args: lab.args(...args) });
  let residentMiB = 0;
  const timer = setInterval(() => {
    try {
      const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
      residentMiB = Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? residentMiB * 1024) / 1024;
    } catch {
      // It has ended.
    }
  }, 10);
  try {
    return { ...(await result), residentMiB };
  } finally {
    clearInterval(timer);
  }
}

for (const [form, flags] of [
  ["as a table", []],
  ["as JSON, with a plan", ["--json", "--plan-target", "nbd://h:10809/{vm}-disk-{key}"]],
  ["as CSV", ["--csv"]],
] as const) {
  test(`${count} VMs ${form} need less than ${residentMiBMax} MiB`, async (t) => {
    const plan = join(lab.dir, "plan.yaml");
    const more = form.includes("plan") ? ["--plan", plan] : [];
    const run = await measured(...flags, ...more);
    assert.equal(run.code, 0, run.stderr);
    const seconds = (run.durationMs / 1000).toFixed(1);
    t.diagnostic(`${count} VMs ${form}: ${seconds} s, ${Math.round(run.residentMiB)} MiB`);
    assert.ok(run.residentMiB > 20, "it was measured");
    assert.ok(run.residentMiB < residentMiBMax, `${run.residentMiB} MiB`);
    if (form === "as CSV") assert.equal(run.stdout.split("\r\n").length, count + 2);
    if (form === "as a table") assert.match(run.stdout, /^5000 VMs with 9999 disks of /m);
    if (!form.includes("plan")) return;
    const document = JSON.parse(run.stdout) as InventoryDocument;
    assert.equal(new Set(document.vms.map(({ vm_path }) => vm_path)).size, count);
    assert.equal(document.blocked_count, count / 100);
    assert.equal(document.noted_count, count / 10 - count / 100);
    const started = performance.now();
    assert.equal(readVmList(plan, new Map(), {}).vms.length, count - count / 100);
    t.diagnostic(`its plan is read in ${Math.round(performance.now() - started)} ms`);
  });
}
