// Markers as API key and secret key of CloudStack, given in each possible way: then a look at everything that could
// hold them.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { startVolumesLab, type VolumesLab } from "../e2e/volumes-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { filesHolding, formsOf, holds, watchTree } from "./process-watch.ts";

const odd = (what: string) => `${what}&<"'$(id) ü~*;${randomBytes(12).toString("hex")}`;
const apiKey = odd("k");
const secretKey = odd("s");
const forms = [...formsOf(apiKey), ...formsOf(secretKey)];
const debugSwitches = {
  DEBUG: "*",
  NODE_DEBUG: "http,https,http2,net,tls,stream,timers,child_process,fs,undici,module",
};

let it: VolumesLab;
let vm: LabVm;
let temporary: string;
before(async () => {
  const fill = { seed: 1, dataRatio: 1 };
  it = await startVolumesLab([{ name: "secret01", disks: [{ capacityBytes: 8 << 20, fill }] }], {
    change: (catalogue) => {
      const [operator, ...others] = catalogue.accounts;
      catalogue.accounts.splice(0, 9, { ...operator!, apiKey, secretKey }, ...others);
    },
  });
  vm = it.lab.vm("secret01");
  temporary = mkdtempSync(join(tmpdir(), "migratekit-secrets-"));
});
after(async () => {
  await it[Symbol.asyncDispose]();
  rmSync(temporary, { recursive: true, force: true });
});
beforeEach(() => it.cloud.faults.clear());

/** Runs a command, and looks for both keys wherever they could be while it runs and afterwards. */
async function run(
  command: string,
  how: { args?: readonly string[]; env?: Record<string, string> },
) {
  const cloudArgs = [
    ...["--cloudstack-endpoint", it.cloud.url, "--cloudstack-appliance", it.cloud.appliance.id],
    ...(how.args ?? []),
  ];
  const { child, result } = it.start(
    command,
    vm,
    { cloudArgs, extra: ["--debug", "--full", "--job-id", "keys"] },
    { TMPDIR: temporary, ...how.env },
  );
  const watch = watchTree(child.pid!, forms, [temporary, it.lab.stateDir]);
  const { code, stdout, stderr } = await result;
  watch.stop();
  const told = JSON.stringify([it.lab.vma.updates, [...it.lab.vma.jobs.values()]]);
  for (const [name, text] of Object.entries({ stdout, stderr, told }))
    assert.ok(!holds(Buffer.from(text), forms), `${name} holds a key`);
  assert.deepEqual(filesHolding(it.lab.stateDir, forms), []);
  assert.deepEqual(filesHolding(temporary, forms), []);
  assert.ok(watch.samples > 10, `${watch.samples} samples`);
  return { code, stdout, stderr, watch };
}

const file = (name: string, text: string) => {
  const path = join(it.lab.dir, name);
  writeFileSync(path, text, { mode: 0o600 });
  return path;
};

test("both keys by flag: in the process list only until the program begins, and only the secret one is warned of", async () => {
  const args = ["--cloudstack-api-key", apiKey, `--cloudstack-secret-key=${secretKey}`];
  const { code, stderr, watch } = await run("migrate", { args });
  assert.equal(code, 0, stderr);
  assert.match(stderr, /--cloudstack-secret-key shows the secret key to everybody/);
  const places = new Set(watch.sightings.map(({ what }) => what));
  assert.deepEqual(
    [...places].filter((what) => what !== "cmdline"),
    [],
  );
  const lastSeen = watch.sightings.at(-1)?.atMs ?? 0;
  assert.ok(lastSeen < (watch.cleanAtMs[0] ?? Number.NaN), "seen again after it had been hidden");
  await it.assertEqual(vm);
});

test("by variables and a file, with every debug switch of Node and its libraries on: seen nowhere else", async () => {
  const secretFile = file("secret-key", `${secretKey}\nmore\n`);
  const { code, stderr, watch } = await run("migrate", {
    args: ["--cloudstack-secret-key-file", secretFile],
    env: { MIGRATEKIT_CLOUDSTACK_API_KEY: apiKey, ...debugSwitches },
  });
  assert.equal(code, 0, stderr);
  assert.match(stderr, /^(NET|HTTPS?) \d+:/m, "the switches were on");
  for (const { pid, what, name } of watch.sightings) {
    assert.equal(what, "environ");
    assert.ok(/^(node|sh|migratekit|MainThread)/.test(name), `${name} (${pid}) has a key`);
  }
});

test("by configuration, from an API that answers with what it was sent: an error, a job, a protocol of its own", async () => {
  const config = file(
    "cloud.yaml",
    `cloudstack-api-key: ${JSON.stringify(apiKey)}\ncloudstack-secret-key: ${JSON.stringify(secretKey)}\n`,
  );
  for (const [name, value, code] of [
    ["apiError", 431, 10],
    ["apiError", 530, 10],
    ["apiError", 401, 10],
  ] as const) {
    it.cloud.faults.add({
      name,
      command: "listVolumes",
      value,
      text: `you said ${apiKey} ${secretKey}`,
    });
    const ran = await run("migrate", { args: ["--config", config] });
    assert.equal(ran.code, code, ran.stderr);
    assert.match(ran.stderr, /you said \[secret\] \[secret\]/);
    assert.deepEqual(ran.watch.sightings, []);
    it.cloud.faults.clear();
  }
});

test("check tells what it looked at, and no key", async () => {
  const env = {
    MIGRATEKIT_CLOUDSTACK_API_KEY: apiKey,
    MIGRATEKIT_CLOUDSTACK_SECRET_KEY: secretKey,
  };
  const { code, stdout, stderr } = await run("check", { env });
  assert.equal(code, 0, stdout + stderr);
  assert.match(stdout, /"area":"cloudstack"/);
});
