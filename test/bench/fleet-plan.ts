/**
 * What `fleet plan` costs by the number of VMs: time and memory of a process of its own for each.
 *
 *   .ci/node test/bench/fleet-plan.ts [COUNT…]
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const given = process.argv.slice(2).map(Number);
const counts = given.length > 0 ? given : [100, 1000, 10_000];
const hostCount = 100;
const waveCount = 20;
const cli = join(import.meta.dirname, "../../src/cli.ts");

const dir = mkdtempSync(join(tmpdir(), "mk-bench-fleet-plan-"));
try {
  for (const count of counts) console.log(measure(count));
} finally {
  rmSync(dir, { recursive: true });
}

function measure(count: number): string {
  const [plan, inventory] = [join(dir, "plan.yaml"), join(dir, "vms.json")];
  writeFileSync(plan, planText(count));
  writeFileSync(inventory, inventoryText(count));
  const args = ["fleet", "plan", plan, "--inventory", inventory, "--json", "--workers", "20"];
  const timed = ["-f", "%e %M", process.execPath, cli, ...args, "--parallel-vms", "8"];
  const run = spawnSync("/usr/bin/time", [...timed, "--state-dir", join(dir, "state")], {
    encoding: "utf8",
    maxBuffer: 2 ** 30,
  });
  if (run.error ?? run.status !== 0) throw run.error ?? new Error(run.stderr);
  const { vm_count, waves } = JSON.parse(run.stdout) as { vm_count: number; waves: unknown[] };
  const [seconds, kibibytes] = run.stderr.trim().split("\n").at(-1)!.split(" ").map(Number);
  return `${vm_count} VMs in ${waves.length} waves: ${seconds} s, ${Math.round(kibibytes! / 1024)} MiB`;
}

function planText(count: number): string {
  const vms = Array.from({ length: count }, (_, at) => [
    `  - vmware-path: ${pathOf(at)}`,
    `    nbd-export-name: vm${at}-{key}`,
    `    wave: ${at % waveCount}`,
    ...(at % 10 === 9 ? [`    after: vm${at - 1}`] : []),
  ]);
  return [
    ...["defaults:", "  vmware-endpoint: vc.example.com", "  time-zone: Europe/Rome"],
    ...['  schedule: "*/30 * * * *"', "  sync-window: [Mon-Fri 19:00-07:00, 'Sat,Sun']"],
    ...["  cutover-window: Sat 20:00-Mon 04:00", "vms:", ...vms.flat(), ""],
  ].join("\n");
}

function inventoryText(count: number): string {
  const vms = Array.from({ length: count }, (_, at) => ({
    vm_path: pathOf(at),
    host: `esx${at % hostCount}`,
    datastores: [`ds${at % (hostCount / 2)}`],
    disks: [{}, {}],
    disk_bytes: (20 + (at % 180)) * 2 ** 30,
  }));
  return JSON.stringify({ endpoint: "vc.example.com:443", vms });
}

function pathOf(at: number): string {
  return `/Datacenter/vm/F${at % 50}/vm${at}`;
}
