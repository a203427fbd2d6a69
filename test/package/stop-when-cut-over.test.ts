// What the unit runs after each sync: the timer of a VM that was cut over goes, and no other.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { State } from "../../src/state/state.ts";
import { cliCommand } from "../lab/run-cli.ts";

const script = join(import.meta.dirname, "../../.ci/package/files/stop-when-cut-over");
const vms = ["web01", "web02"].map((name) => ({
  endpoint: "vcenter.example",
  instanceUuid: `5029d1a4-0000-0000-0000-0000000${name}`,
  vmPath: `/DC/vm/${name}`,
}));

test("only after exit code 7, and only of a VM that was cut over, the timer is disabled", (t) => {
  const dir = mkdtempSync(join(tmpdir(), "migratekit-unit-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const asked = join(dir, "asked");
  const program = (name: string, text: string) => {
    writeFileSync(join(dir, name), `#!/bin/sh\n${text}\n`);
    chmodSync(join(dir, name), 0o755);
  };
  program("systemctl", `echo "$@" >> ${asked}`);
  program("migratekit", `exec ${cliCommand.join(" ")} "$@"`);
  {
    using state = State.open(join(dir, "state"));
    for (const vm of vms) {
      state.runs.startRun(vm, { command: "migrate", version: "3", lockToken: "t" });
    }
    state.markCutOver(vms[0]!, "run-1");
  }
  const stop = (name: string, exitStatus: number) => {
    const settings = join(dir, `${name}.yaml`);
    writeFileSync(
      settings,
      `vmware-endpoint: vcenter.example\nvmware-path: /DC/vm/${name}\nnbd-export-name: ${name}\n`,
    );
    const env = {
      PATH: `${dir}:${process.env.PATH}`,
      EXIT_STATUS: String(exitStatus),
      MIGRATEKIT_STATE_DIR: join(dir, "state"),
      // Of the unit; what it names is gone by then.
      MIGRATEKIT_VMWARE_PASSWORD_FILE: join(dir, "gone"),
    };
    const run = spawnSync(script, [name, settings], { env, encoding: "utf8" });
    assert.equal(run.status, 0, run.stderr);
    assert.equal(run.stderr, "");
    return run.stdout;
  };
  assert.equal(stop("web01", 0), "");
  assert.equal(stop("web02", 7), "");
  assert.equal(existsSync(asked), false);
  assert.match(stop("web01", 7), /web01 was cut over/);
  assert.equal(readFileSync(asked, "utf8"), "disable --now migratekit@web01.timer\n");
});
