// The page that leads from three empty appliances to the first wave: its files and its commands, in its order,
// against a laboratory and an empty PostgreSQL, with three workers.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { assertMoved } from "../e2e/migrate-checks.ts";
import { LabPostgres } from "../lab/postgres.ts";
import { cliCommand } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import { until } from "../until.ts";

const run = promisify(execFile);
const page = readFileSync(join(import.meta.dirname, "../../docs/fleet/first-wave.md"), "utf8");
const names = ["db01", "web01", "web02"];
const appliances = ["vma1", "vma2", "vma3"];

let lab: Lab;
let postgres: LabPostgres;
const dir = mkdtempSync(join(tmpdir(), "mk-wave-"));
before(async () => {
  const vms = names.map((name, index) => ({
    ...{ name, folder: "Production", guestShutdown: { afterMs: 0 } },
    disks: [{ capacityBytes: 4 << 20, fill: { seed: index, dataRatio: 0.6, zeroRatio: 0.2 } }],
  }));
  lab = await startLab({ targets: "direct", vms });
  postgres = await LabPostgres.start();
  await postgres.createDatabase("fleet");
  mkdirSync(join(dir, "bin"));
  const words = cliCommand.map((word) => `'${word}'`).join(" ");
  writeFileSync(join(dir, "bin/migratekit"), `#!/bin/sh\nexec ${words} "$@"\n`);
  chmodSync(join(dir, "bin/migratekit"), 0o755);
  writeFileSync(join(dir, "vcenter-password"), `${lab.vcenter.password}\n`, { mode: 0o600 });
  writeFileSync(join(dir, "fleet-password"), "nobody asks for it here\n", { mode: 0o600 });
});
after(async () => {
  rmSync(dir, { recursive: true, force: true });
  await postgres?.[Symbol.asyncDispose]();
  await lab?.stop();
});

/** What the page says of a place that everybody has, as the laboratory has it. */
function asInTheLab(text: string): string {
  const { endpoint, thumbprintSha256, username } = lab.vcenter;
  return text
    .replaceAll("vcenter.example.com", endpoint)
    .replaceAll("migratekit@vsphere.local", username)
    .replaceAll("4D:0B:66:…", thumbprintSha256)
    .replaceAll("10808", String(lab.targets.port))
    .replaceAll("postgres://fleet@db.example.com/fleet", postgres.url("fleet", "fleet"))
    .replaceAll("target-drop-time: 30s", "target-drop-time: 0s");
}

/** Each appliance has a state of its own. */
function environment(appliance: string): NodeJS.ProcessEnv {
  const { MIGRATEKIT_JOB_ID: _, MIGRATEKIT_STATE_DIR: __, ...settings } = lab.cliEnv();
  return {
    ...settings,
    MIGRATEKIT_STATE_DIR: join(dir, `state-${appliance}`),
    MIGRATEKIT_WORKER_NAME: appliance,
    PATH: `${join(dir, "bin")}:${process.env.PATH}`,
    HOME: dir,
  };
}

async function type(command: string): Promise<string> {
  const options = { env: environment("here"), cwd: dir };
  const { stdout, stderr } = await run("bash", ["-ec", asInTheLab(command)], options);
  return `${stdout}${stderr}`;
}

interface Vm {
  readonly name: string;
  readonly state: string;
  readonly last_sync_at?: string;
}

async function all(what: string, holds: (vm: Vm) => boolean): Promise<void> {
  await until(what, async () => {
    const { vms } = JSON.parse(await type(`${command("fleet status")} --json`)) as { vms: Vm[] };
    assert.deepEqual(vms.map(({ name }) => name).sort(), names);
    assert.ok(!vms.some(({ state }) => state === "failed"), JSON.stringify(vms));
    return vms.every(holds);
  });
}

const blocks = [...page.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map(([, kind, text]) => ({
  kind: kind!,
  text: text!,
}));

function command(beginning: string): string {
  const found = blocks.find(({ text }) => text.startsWith(`migratekit ${beginning} `));
  assert.ok(found, beginning);
  return found.text.trim();
}

test("six commands lead from three empty appliances to the first wave", async () => {
  const numbered = page.match(/^## \d\. /gm) ?? [];
  assert.equal(numbered.length, 6);
  const [settings, defaults, fleet] = blocks.filter(({ kind }) => kind === "yaml");
  writeFileSync(join(dir, "fleet.yaml"), asInTheLab(settings!.text));

  assert.match(await type(command("inventory")), /db01[\s\S]*web02/);
  const plan = join(dir, "wave1.yaml");
  const written = readFileSync(plan, "utf8");
  writeFileSync(plan, written.replace(/^defaults:\n/m, `defaults:\n${defaults!.text}`));
  appendFileSync(plan, asInTheLab(fleet!.text));

  assert.match(await type(command("fleet plan")), /^ +1 +3 /m);
  assert.match(await type(command("fleet init")), /schema has version \d/);
  assert.match(await type(command("fleet apply")), /added 3 VMs: db01, web01, web02/);

  const workers = appliances.map((name) =>
    spawn("bash", ["-c", `exec ${command("fleet work")}`], {
      ...{ env: environment(name), cwd: dir, stdio: "ignore" },
    }),
  );
  try {
    await all("the wave is in sync", ({ last_sync_at }) => last_sync_at !== undefined);
    assert.match(await type(command("fleet status")), /3 VMs at .*: 3 in sync/);
    assert.match(await type(command("fleet cutover")), /to be cut over: 3 VMs/);
    await all("the wave is cut over", ({ state }) => state === "cut-over");
  } finally {
    for (const worker of workers) worker.kill("SIGTERM");
    await Promise.all(workers.map((worker) => worker.exitCode ?? once(worker, "exit")));
  }
  for (const name of names) {
    await assertMoved(lab, lab.vm(name));
    assert.equal(lab.vm(name).record.powerState, "poweredOff");
  }
  await type(command("fleet report"));
  const report = readFileSync(join(dir, "wave1.html"), "utf8");
  for (const name of names) assert.ok(report.includes(name), name);
});
