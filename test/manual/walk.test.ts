// The manual as a walk: every block of commands of docs/first-migration.md, in its order, as root of a namespace in which
// /etc/migratekit is what the page makes it. What cannot be run is marked in the page, and counted.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { assertMoved } from "../e2e/migrate-checks.ts";
import { cliCommand } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";

const page = readFileSync(join(import.meta.dirname, "../../docs/first-migration.md"), "utf8");
/** `guest`: needs a disk that boots; test/e2e/guest.test.ts runs these commands on one. */
const unrunnable: Record<string, number> = { systemd: 2, vsphere: 1, guest: 2 };

interface Block {
  readonly language: string;
  /** Of a block that is not run. */
  readonly obstacle: string | undefined;
  readonly text: string;
  /** Of a file: the path named last before it. */
  readonly path: string | undefined;
}

function blocksOf(markdown: string): Block[] {
  return [...markdown.matchAll(/^```(\w+)(?: not-run=(\w+))?\n([\s\S]*?)^```$/gm)].map((match) => ({
    language: match[1]!,
    obstacle: match[2],
    text: match[3]!,
    path: [...markdown.slice(0, match.index).matchAll(/`(\/[^`\s]+\.yaml)`/g)].at(-1)?.[1],
  }));
}

let lab: Lab;
let vm: LabVm;
const dir = mkdtempSync(join(tmpdir(), "mk-walk-"));
before(async () => {
  const fill = { seed: 5, dataRatio: 0.6, zeroRatio: 0.2 };
  const web01 = { name: "web01", folder: "Production", disks: [{ capacityBytes: 4 << 20, fill }] };
  lab = await startLab({ targets: "stunnel", vms: [web01] });
  vm = lab.vm("web01");
  for (const folder of ["etc/vms", "etc/credentials", "bin"])
    mkdirSync(join(dir, folder), { recursive: true });
  const words = cliCommand.map((word) => `'${word}'`).join(" ");
  writeFileSync(join(dir, "bin/migratekit"), `#!/bin/sh\nexec ${words} "$@"\n`);
  chmodSync(join(dir, "bin/migratekit"), 0o755);
  // Whoever asks for it is told the password.
  writeFileSync(join(dir, "typed"), `${lab.vcenter.password}\n`);
});
after(async () => {
  rmSync(dir, { recursive: true, force: true });
  await lab.stop();
});

/** What the page says of a place that everybody has, as the laboratory has it. */
function asInTheLab(text: string): string {
  const { endpoint, thumbprintSha256, username } = lab.vcenter;
  return text
    .replaceAll("vcenter.example.com:443", endpoint)
    .replaceAll("vcenter.example.com", endpoint)
    .replaceAll("migratekit@vsphere.local", username)
    .replaceAll("4D:0B:66:…", thumbprintSha256)
    .replaceAll("10808", String(lab.targets.port))
    .replaceAll("web01-system", lab.targets.exportTemplate(vm).replace("{key}", "2000"))
    .replaceAll("/tmp/web01.html", join(dir, "web01.html"));
}

/** As root sees it, with /etc/migratekit laid over what this machine may have there. */
async function runBlock(script: string): Promise<string> {
  const inside = [
    "set -e",
    `mkdir "$1/etc-now" && mount -t tmpfs none "$1/etc-now" && mkdir "$1/etc-now/upper" "$1/etc-now/work"`,
    `mount -t overlay none -o "lowerdir=/etc,upperdir=$1/etc-now/upper,workdir=$1/etc-now/work" /etc`,
    `mkdir -p /etc/migratekit && mount --bind "$1/etc" /etc/migratekit`,
    `exec bash -eo pipefail -c "$2" <"$1/typed"`,
  ].join("\n");
  const args = ["--user", "--map-root-user", "--mount", "sh", "-c", inside, "sh", dir, script];
  try {
    return await new Promise((resolve, reject) => {
      const env = {
        ...lab.cliEnv(),
        MIGRATEKIT_TARGET_DROP_TIME: "0s",
        PATH: `${join(dir, "bin")}:${process.env.PATH}`,
        HOME: dir,
      };
      execFile("unshare", args, { env, cwd: dir }, (error, stdout, stderr) =>
        error
          ? reject(new Error(`${script}\n${stdout}\n${stderr}`, { cause: error }))
          : resolve(`${stdout}${stderr}`),
      );
    });
  } finally {
    rmSync(join(dir, "etc-now"), { recursive: true, force: true });
  }
}

/** What a block's output has to show, by its first words. */
const expected: readonly (readonly [RegExp, RegExp])[] = [
  [/^openssl/, /[Ff]ingerprint=([0-9A-F]{2}:){31}/],
  [
    /^migratekit config show/,
    /vmware-path +\/Datacenter\/vm\/Production\/web01 +\/etc\/migratekit\/vms\/web01.yaml:1/,
  ],
  [/^migratekit check/, /A run would start/],
  [
    /^migratekit status --watch/,
    /no run is at work here[\s\S]*web01-first: completed, full, Complete, 100 %/,
  ],
  [/^migratekit list/, /web01[\s\S]*disk-2000[\s\S]*migrate +incremental +completed/],
  [/^migratekit verify/, /equal[\s\S]*equal/],
];

test("every command of the walk runs, in the page's order, and what it says comes about", async () => {
  const blocks = blocksOf(page);
  const files = blocks.filter(({ language }) => language === "yaml");
  const commands = blocks.filter(
    ({ language, obstacle }) => language === "sh" && obstacle === undefined,
  );
  assert.equal(files.length, 2);
  assert.ok(commands.length >= 10, `${commands.length} blocks`);
  const checks = new Set(expected);
  for (const { language, obstacle, text, path } of blocks) {
    if (language === "yaml") {
      writeFileSync(join(dir, "etc", path!.replace("/etc/migratekit/", "")), asInTheLab(text));
    } else if (obstacle === undefined) {
      const output = await runBlock(asInTheLab(text));
      const check = expected.find(([beginning]) => beginning.test(text));
      if (check) assert.match(output, check[1], text);
      if (check) checks.delete(check);
    }
    if (/^migratekit migrate .*web01-first/.test(text))
      await vm.randomWrites(2000, { seed: 1, writes: 3 });
    if (/^migratekit cutover/.test(text)) await assertMoved(lab, vm);
  }
  assert.deepEqual([...checks], [], "each expectation was met by a block");
  assert.equal(vm.record.powerState, "poweredOff");
  const report = readFileSync(join(dir, "web01.html"), "utf8");
  assert.match(report, /sha256:[0-9a-f]{64}/);
});

test("what is not run is marked with its reason, and is no more than it was", () => {
  const counts: Record<string, number> = {};
  for (const { obstacle } of blocksOf(page)) {
    if (obstacle !== undefined) counts[obstacle] = (counts[obstacle] ?? 0) + 1;
  }
  assert.deepEqual(counts, unrunnable);
  assert.equal(page.match(/^```/gm)!.length, 2 * blocksOf(page).length, "every block is read");
});
