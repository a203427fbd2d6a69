// The units, judged by systemd itself: that every setting is one, and how far the service is shut in.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

const folder = mkdtempSync(join(tmpdir(), "units-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const names = [
  "migratekit@.service",
  "migratekit-export.service",
  "migratekit-worker.service",
  "migratekit@.timer",
];
const files = join(import.meta.dirname, "../../.ci/package/files");

// What they start is not installed here.
before(() => {
  for (const name of names) {
    const text = readFileSync(join(files, name), "utf8");
    const own = /\/usr\/(bin\/migratekit|lib\/migratekit\/stop-when-cut-over)\b/g;
    const programs = name === "migratekit@.service" ? 2 : name.endsWith(".service") ? 1 : 0;
    assert.equal(text.match(own)?.length ?? 0, programs);
    writeFileSync(join(folder, name), text.replaceAll(own, "/usr/bin/true"));
  }
});

function analyze(...args: string[]) {
  const { status, stdout, stderr } = spawnSync("systemd-analyze", args, { encoding: "utf8" });
  return { status, output: stdout + stderr };
}

test("systemd knows every setting of the units", () => {
  const verdict = analyze("verify", "--man=no", ...names.map((name) => join(folder, name)));
  assert.deepEqual(verdict, { status: 0, output: "" });
});

for (const [name, threshold] of [
  [names[0]!, 17],
  [names[1]!, 20], // the disks are its work
  [names[2]!, 17],
] as const) {
  test(`${name} is as shut in as systemd counts among its best: ${threshold / 10} of 10 at most`, () => {
    const service = join(folder, name);
    const limit = `--threshold=${threshold}`;
    const { status, output } = analyze("security", "--offline=true", limit, service);
    assert.equal(status, 0, output);
  });
}
