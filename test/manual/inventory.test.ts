// The inventory's page: its commands run as they stand there, and what it says of them comes about.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { readVmList } from "../../src/migration/list/read-list.ts";
import { openTarget } from "../../src/report/inventory/plan.ts";
import type { InventoryDocument } from "../e2e/inventory-lab.ts";
import { breachesOf } from "../lab/json-schema.ts";
import { cliCommand } from "../lab/run-cli.ts";
import { startVcenter, type VcenterLab } from "../lab/vcenter/vcenter.ts";

const page = readFileSync(join(import.meta.dirname, "../../docs/inventory.md"), "utf8");
const dir = mkdtempSync(join(tmpdir(), "mk-inventory-page-"));
const disk = { capacityBytes: 1 << 30 };
let vcenter: VcenterLab;

before(async () => {
  vcenter = await startVcenter({
    labDir: join(dir, "lab"),
    vms: [
      { name: "web01", folder: "Production", paper: true, disks: [disk, disk] },
      { name: "=tpl", folder: "Production", template: true, paper: true, disks: [disk] },
      { name: "shop", folder: "Production", vApp: "app", paper: true, disks: [disk] },
      { name: "old", hardwareVersion: 4, paper: true, disks: [disk] },
    ],
  });
  writeFileSync(join(dir, "password"), `${vcenter.password}\n`, { mode: 0o600 });
  const settings = {
    "vmware-endpoint": vcenter.endpoint,
    "vmware-username": "readonly@vsphere.local",
    "vmware-password-file": join(dir, "password"),
    "vmware-thumbprint": vcenter.thumbprintSha1,
    "state-dir": join(dir, "state"),
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name}: "${value}"`);
  writeFileSync(join(dir, "vcenter.yaml"), lines.join("\n"));
  const words = cliCommand.map((word) => `'${word}'`).join(" ");
  writeFileSync(join(dir, "migratekit"), `#!/bin/sh\nexec ${words} "$@"\n`);
  chmodSync(join(dir, "migratekit"), 0o755);
});
after(async () => {
  await vcenter.stop();
  rmSync(dir, { recursive: true, force: true });
});

async function runLine(line: string): Promise<string> {
  const env = { ...process.env, PATH: `${dir}:${process.env.PATH}` };
  const { stdout } = await promisify(execFile)("bash", ["-ec", line], { cwd: dir, env });
  return stdout;
}

const kept = (name: string) => readFileSync(join(dir, name), "utf8");

test("every command of the page runs, for an account that may only read, and gives what it says", async () => {
  const blocks = [...page.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, text]) => text!);
  assert.equal(blocks.length, 2);
  const [first, plan] = blocks as [string, string];
  const [all, below, csv, json] = first.trim().split("\n");
  assert.match(await runLine(all!), /^4 VMs with 5 disks of 5\.0 GiB/m);
  const text = await runLine(below!);
  assert.match(text, /^3 VMs with 4 disks .*\n1 blocked$/m);
  assert.match(text, /^ {2}=tpl +template .*\n {4}blocked: .*\[vm-unsuitable\]\n {6}fix: /m);
  assert.match(text, /^\/Datacenter\/vm\/Production\/app\n {2}shop /m, "those in vApps too");
  await runLine(csv!);
  assert.match(kept("vms.csv"), /,"'=tpl",/, "an apostrophe in front");
  await runLine(json!);
  const document = JSON.parse(kept("vms.json")) as InventoryDocument;
  assert.deepEqual(breachesOf("inventory", document), []);
  assert.ok(
    document.vms.some(({ name }) => name === "=tpl"),
    "names to the letter",
  );
  const [head] = kept("vms.csv").split("\r\n");
  const fields = new Set([...Object.keys(document.vms[0]!), ...Object.keys(document)]);
  const shared = head!.split(",").filter((name) => fields.has(name));
  assert.ok(shared.length > 20, "the fields' names of the document");
  await runLine(plan);
  const [web01, shop] = readVmList(join(dir, "wave1.yaml"), new Map(), {}).vms;
  assert.equal(
    web01?.config.nbdTargets,
    [2000, 2001].map((key) => `${key}:nbd://127.0.0.1:10808/web01-disk-${key}`).join(","),
  );
  assert.equal(shop?.name, "shop");
  await assert.rejects(runLine(plan), /there is such a file already/);
  await runLine(plan.replace("--plan ", "--replace-plan --plan "));
  assert.deepEqual(vcenter.log.changes(), []);
});

test("the page names the open target, and figures as the code and the tests have them", () => {
  assert.ok(page.includes(`\`${openTarget}\``));
  const source = (name: string) => readFileSync(join(import.meta.dirname, "../..", name), "utf8");
  const pageObjects = /pageObjects = (\d+)/.exec(source("src/vmware/inventory/machines.ts"))?.[1];
  assert.ok(page.includes(`pages of ${pageObjects} `));
  assert.match(source("test/e2e/inventory.thousands.test.ts"), /count = 5000/);
  for (const cell of ["disks", "datastores", "problems", "warnings"])
    assert.ok(page.includes(`\`${cell}\``));
});
