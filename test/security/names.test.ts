// Names as people, scripts and attackers give them, from the inventory to the target: each is only
// ever data, to the shell that is never asked, to URLs, URIs, XML, JSON, SQL and argument lists.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createLogger } from "../../src/logger.ts";
import { nfcPort } from "../e2e/cli-commands.ts";
import { assertNoSnapshot } from "../e2e/migrate-checks.ts";
import { compareFiles } from "../lab/compare.ts";
import { startCli } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import { createVolume, startQemuNbd } from "../lab/targets.ts";

interface Case {
  readonly title: string;
  readonly vm: string;
  readonly datastore?: string;
  readonly folder?: string;
  readonly exportName: string;
  readonly jobId: string;
}

const capacityBytes = 1 << 20;
/** Made by a shell, were one asked. */
const canary = "shell-was-asked";

const cases: readonly Case[] = [
  {
    title: "spaces, quotes, commas and brackets",
    vm: `two  spaces, "double" 'single' [x] (y) {z}`,
    datastore: 'data store, [1] "x"',
    exportName: `exp ort, "a" 'b' [c]{key}`.replace("{key}", "k"),
    jobId: `job, "a" 'b' [c] 1`,
  },
  {
    title: "percent signs, slashes and backslashes, escaped and not",
    vm: "50% %2f %25 a/b\\c",
    folder: 'Folder, x/[1] "y"',
    exportName: "a/b//c%2fd%25?e=f#g&h",
    jobId: "tenant/a/..%2f../b?x=1&y=2#z",
  },
  {
    title: "what a shell, nbdkit and getopt would understand",
    vm: `--help; $(touch ${canary}) \`touch ${canary}\` | x=y & *`,
    datastore: `ds=$(touch ${canary}) file=/etc/passwd`,
    exportName: `-rf $(touch ${canary}) ;|&`,
    jobId: `$(touch ${canary})`,
  },
  {
    title: "Unicode of several widths, composed and not",
    vm: "новая 新しい é e\u0301 🚀 \u202eright-to-left",
    datastore: "データ ü",
    exportName: "том-新しい-🚀",
    jobId: "задание-🚀",
  },
  {
    title: "line breaks, tabs and control characters",
    vm: "two\nlines\ttab\u0007bell",
    exportName: "two\nlines\ttab",
    jobId: "two\r\nlines: x",
  },
  {
    title: "SQL, XML and JSON",
    vm: `'; DROP TABLE pin; -- </returnval><x a="&amp;"> {"a":1}`,
    datastore: "<ds> & ']]>",
    exportName: `'; DROP TABLE pin; -- </a>`,
    jobId: `"},{"status":"completed"`,
  },
  {
    title: "255 characters",
    vm: "v".repeat(255),
    datastore: "d".repeat(200),
    exportName: "e".repeat(255),
    jobId: "j".repeat(255),
  },
];

let lab: Lab;
before(async () => {
  const vms = cases.map(({ vm, datastore, folder }, index) => ({
    name: vm,
    ...(folder === undefined ? {} : { folder }),
    disks: [
      {
        capacityBytes,
        fill: { seed: index, dataRatio: 0.7 },
        ...(datastore === undefined ? {} : { datastore }),
      },
    ],
  }));
  lab = await startLab({ targets: "direct", vms });
});
after(() => lab.stop());

for (const { title, vm: name, exportName, jobId } of cases) {
  test(`a migration with ${title} in its names`, async () => {
    const vm = lab.vm(name);
    const file = join(lab.dir, `volume-${vm.moref}.raw`);
    await createVolume(file, capacityBytes);
    await using server = await startQemuNbd({ file, exportName });
    const run = (extra: string[]) => {
      const args = lab.migrateArgs(vm, { jobId, extra: ["--json", ...extra] });
      args.splice(args.indexOf("--nbd-port"), 4);
      const env = { CLOUDSTACK_API_URL: lab.oma.url, MIGRATEKIT_VDDK_NFC_PORT: nfcPort(lab) };
      return startCli({ args, env }).result;
    };
    const byName = ["--nbd-port", `${server.port}`, "--nbd-export-name", exportName];
    const full = await run(byName);
    assert.equal(full.code, 0, full.stderr);
    const summary = JSON.parse(full.stdout);
    assert.equal(summary.vm.path, vm.path);
    await assertEqual();

    assert.equal(lab.vma.jobs.get(jobId)?.status, "completed");
    assert.deepEqual(lab.vma.violations, []);

    lab.vma.clear();
    await vm.write(2000, 65_536, Buffer.alloc(4096, 5));
    const uri = `nbd://127.0.0.1:${server.port}/${encodeURIComponent(exportName)}`;
    const again = await run(["--nbd-targets", `2000:${uri}`]);
    assert.equal(again.code, 0, again.stderr);
    assert.equal(JSON.parse(again.stdout).sync_type, "incremental", again.stderr);
    await assertEqual();

    assertNoSnapshot(vm);
    // A log line is a line, and what it holds moves no cursor.
    for (const line of full.stderr.trimEnd().split("\n")) {
      assert.match(line, /^\{.*\}$/, "a name broke a log line");
      assert.doesNotMatch(line, /\p{Cc}/u);
    }
    for (const folder of [process.cwd(), "/", lab.dir, lab.stateDir]) {
      assert.ok(!readdirSync(folder).includes(canary), "a shell was asked");
    }

    async function assertEqual() {
      const { imagePath } = lab.frozenDisk(vm, 2000);
      const comparison = await compareFiles(imagePath, file, capacityBytes);
      assert.ok(comparison.equal, comparison.difference);
    }
  });
}

test("each of these VMs has a history of its own, found by its path", async () => {
  for (const { vm: name } of cases) {
    const { path } = lab.vm(name);
    const args = ["history", "--state-dir", lab.stateDir, "--vmware-path", path, "--json"];
    const { code, stdout, stderr } = await startCli({ args }).result;
    assert.equal(code, 0, stderr);
    const { vms } = JSON.parse(stdout) as { vms: { vm_path: string; runs: unknown[] }[] };
    assert.deepEqual(
      vms.map(({ vm_path, runs }) => [vm_path, runs.length]),
      [[path, 2]],
    );
  }
});

test("names that would steer a terminal come out of it as names: in errors, in tables, in lines for people", async () => {
  const evil = "/Datacenter/vm/\u001b]0;owned\u0007\u001b[2J\u009b31m\nerror [none]: all is well";
  const control = /(?!\n)\p{Cc}/u;
  const args = lab.migrateArgs(lab.vm(cases[0]!.vm), { extra: ["--vmware-path", evil] });
  const refused = await startCli({ args }).result;
  assert.equal(refused.code, 3, refused.stderr);
  assert.match(refused.stderr, /vm-not-found/);
  assert.doesNotMatch(refused.stderr, control);
  assert.doesNotMatch(refused.stderr, /^error \[none\]/m);

  const steering = lab.vm(cases[4]!.vm);
  const history = ["history", "--state-dir", lab.stateDir, "--vmware-path", steering.path];
  const shown = await startCli({ args: history }).result;
  assert.equal(shown.code, 0, shown.stderr);
  assert.doesNotMatch(shown.stdout, control);
  assert.match(shown.stdout, /two lines/);

  const lines: string[] = [];
  const destination = { write: (line: string) => void lines.push(line) };
  const logger = createLogger({ level: "info", pretty: true, destination });
  logger.warn({ name: evil, error: new Error(evil) }, `about ${evil}`);
  assert.doesNotMatch(lines.join(""), control);
});
