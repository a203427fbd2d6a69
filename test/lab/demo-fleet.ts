// `npm run demo -- --fleet`: twenty-four machines on three hosts, moved by three workers and a PostgreSQL in
// six commands, while one worker is killed, one stands still for longer than its lease, and the database
// starts anew. Then the guests write, the first wave is cut over, every byte is compared, and the report is
// opened in a browser.

import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startBrowser } from "../report/browser.ts";
import { until } from "../until.ts";
import type { Check } from "./demo-boot.ts";
import { dim, good, title } from "./demo-report.ts";
import { type FleetOverview, FleetSite, type FleetWorker } from "./fleet-site.ts";

const mebibyte = 1_048_576;
const hosts = ["esx1.lab", "esx2.lab", "esx3.lab"];
const machineCount = 24;
const hostConnections = 8;
/** What VDDK takes for one read: without it all is copied before anything can happen. */
const readDelayUs = 400_000;
const leaseTime = "8s";
const takeoverGrace = "2s";
/** Longer than a lease and what comes after it. */
const standstillMs = 12_000;
const withinMs = 300_000;
const every = "30s";
const pictureVariable = "FLEET_PICTURE";

/** Everything lies in `folder`, which is the caller's. */
export async function demonstrateFleet(folder: string, check: Check): Promise<void> {
  const machines = Array.from({ length: machineCount }, (_, index) => ({
    name: `vm${String(index + 1).padStart(2, "0")}`,
    host: hosts[index % hosts.length]!,
    disks: [
      {
        capacityBytes: (6 + (index % 3) * 4) * mebibyte + 512,
        fill: { seed: index + 1, dataRatio: 0.7, zeroRatio: 0.1 },
      },
    ],
  }));
  console.log(title("Three ESXi hosts, twenty-four machines, and an empty PostgreSQL"));
  await using site = await FleetSite.start({
    ...{ hosts, machines, hostConnections, leaseTime, takeoverGrace, targetDropTime: "0s" },
    parentDir: folder,
  });
  const { lab } = site;
  await lab.vddk.setFaults({ delay_us: readDelayUs });
  console.log(`  vCenter     ${lab.vcenter.endpoint}, hosts ${hosts.join(", ")}`);
  console.log(`  PostgreSQL  ${site.url}`);
  console.log(`  targets     nbd-server, 127.0.0.1:${lab.targets.port}`);

  console.log(title("The plan becomes the fleet's"));
  const isFirst = (index: number) => index < machineCount / 2;
  await site.writePlan((_, index) => ({
    ...{ wave: isFirst(index) ? "first" : "second", every },
    ...(isFirst(index) ? { verify: "true" } : {}),
  }));
  await say(site, "plan", site.planFile);
  console.log(dim(`  $ migratekit fleet init --lease-time ${leaseTime}`));
  console.log(indented(await site.init()));
  await say(site, "apply", site.planFile);

  console.log(title("Three workers; one is killed, one stands still, the database starts anew"));
  await strike(site);
  await wait(site, "all are in sync", ({ runs }) => isSynced(runs));
  await lab.vddk.setFaults({});
  console.log(title("The guests write; the fleet goes on by its timetable"));
  for (const [index, vm] of site.machines.entries())
    await vm.randomWrites(2000, { seed: index, writes: 6 + index });
  const writtenMs = Date.now();
  await wait(site, "all have brought what was written", ({ runs }) =>
    isSynced(runs.filter(({ at, duration_ms }) => Date.parse(at) - duration_ms > writtenMs)),
  );

  console.log(title("The first wave is cut over"));
  await say(site, "cutover", "--wave", "first");
  const vms = await wait(
    site,
    "the first wave is cut over",
    ({ wave, state }) => wave !== "first" || state === "cut-over",
  );
  await say(site, "pause", "--all");
  await wait(site, "nothing runs", ({ state }) => state !== "running");
  for (const { child } of site.workers) child.kill("SIGTERM");
  await Promise.all(site.workers.map(({ result }) => result));

  console.log(title("What it came to"));
  await say(site, "status");
  const differences: string[] = [];
  for (const vm of site.machines) {
    const difference = await site.difference(vm);
    if (difference !== undefined) differences.push(`${vm.name}: ${difference}`);
  }
  check(
    site.machines.every((vm, index) => (vm.record.powerState === "poweredOff") === isFirst(index)),
    "the first wave is shut down, the second runs on",
  );
  check(vms.length === machineCount, `all ${machineCount} machines are in the fleet`);
  check(differences.length === 0, `every target equals its snapshot ${differences.join("; ")}`);
  check(
    site.machines.every((vm) => vm.snapshots.length === 0),
    "no snapshot is left on any machine",
  );
  for (const host of hosts) {
    const peak = site.peaks.get(host) ?? 0;
    const within = peak > 0 && peak <= hostConnections;
    check(within, `${host} had at most ${peak} of ${hostConnections} connections`);
  }
  await report(site, folder, check);
}

/** Until each worker is at work; then what may happen to any of them. */
async function strike(site: FleetSite): Promise<void> {
  const [one, two] = await Promise.all(
    ["vma1", "vma2", "vma3"].map((name) => {
      console.log(dim(`  $ migratekit fleet work --worker-name ${name} …`));
      return site.startWorker(name, { parallel: 3 });
    }),
  );
  await copies(site, one!);
  one!.child.kill("SIGKILL");
  console.log("  vma1 is killed in the middle of a copy");
  await copies(site, two!);
  two!.child.kill("SIGSTOP");
  console.log(`  vma2 stands still, for ${standstillMs / 1000} s; a lease lives ${leaseTime}`);
  await site.postgres.restart();
  console.log("  PostgreSQL was started anew");
  await sleep(standstillMs);
  two!.child.kill("SIGCONT");
  console.log("  vma2 goes on");
  await site.startWorker("vma4", { parallel: 3 });
  console.log(dim("  $ migratekit fleet work --worker-name vma4 …"));
}

async function copies(site: FleetSite, { name }: FleetWorker): Promise<void> {
  await until(`${name} copies`, async () => {
    const { vms } = await site.overview();
    return vms.some(({ worker, progress }) => worker === name && (progress?.done_bytes ?? 0) > 0);
  });
}

type Vm = FleetOverview["vms"][number];

const isSynced = (runs: Vm["runs"]) => runs.some(({ status }) => status === "completed");

/** Until it holds for each machine. @throws Error with the workers' words for one that failed */
async function wait(
  site: FleetSite,
  what: string,
  holds: (vm: Vm) => boolean,
): Promise<FleetOverview["vms"]> {
  let last: FleetOverview["vms"] = [];
  const done = async () => {
    last = (await site.overview()).vms;
    const failed = last.filter(({ state }) => state === "failed");
    if (failed.length > 0) throw new Error(`${JSON.stringify(failed)}\n${site.logs()}`);
    return last.every(holds);
  };
  await until(what, done, withinMs);
  console.log(good(`  ${what}`));
  return last;
}

/** The page for those whom it was done for, opened as they would. */
async function report(site: FleetSite, folder: string, check: Check): Promise<void> {
  const page = join(folder, "report.html");
  await say(site, "report", "--html", page, "--title", "Three hosts to the new cloud");
  const browser = await startBrowser();
  try {
    const tab = await browser.newPage({ viewport: { width: 1280, height: 900 } });
    const asked: string[] = [];
    tab.on("request", (request) => asked.push(request.url()));
    await tab.goto(`file://${page}`);
    const text = await tab.innerText("body");
    const missing = site.machines.filter(({ name }) => !text.includes(name));
    check(missing.length === 0, "the report, in Chromium, names every machine");
    check(asked.length === 1, "it asked for nothing but itself");
    const picture = process.env[pictureVariable] ?? join(folder, "report.png");
    await tab.screenshot({ path: picture });
  } finally {
    await browser.close();
  }
}

/** A command as an operator types it, and what it printed. */
async function say(site: FleetSite, command: string, ...args: string[]): Promise<void> {
  const shown = args.map((arg) => (arg === site.planFile ? "plan.yaml" : arg));
  console.log(dim(`  $ migratekit fleet ${[command, ...shown].join(" ")}`));
  console.log(indented(await site.succeed(command, ...args)));
}

function indented(text: string): string {
  return text.trimEnd().replaceAll(/^/gm, "    ");
}
