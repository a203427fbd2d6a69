import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { type GivenFlags, resolveConfig } from "../../../src/config.ts";
import { MigratekitError } from "../../../src/errors.ts";
import { outcomeOf } from "../../../src/fleet/worker/outcome.ts";
import { configOf } from "../../../src/fleet/worker/vm-config.ts";
import { Interruption } from "../../../src/interruption.ts";
import { vm } from "../database/fleet.ts";

function worker(given: Record<string, string>) {
  const flags = new Map(Object.entries(given)) as GivenFlags;
  return { flags, config: resolveConfig("fleet work", flags, {}, "/none") };
}

const settings = {
  "vmware-endpoint": "vc.example",
  "vmware-path": "/DC/vm/web01",
  nbdkit: "/plan/nbdkit",
};

test("the plan's word is stronger than the worker's, whose flags fill in the rest", () => {
  const own = worker({ nbdkit: "/own/nbdkit", "vmware-username": "u", "state-dir": "/own/state" });
  const config = configOf({ vm: vm("web01", { settings }), action: "migrate" }, own, "/run/dir");
  assert.equal(config.nbdkit, "/plan/nbdkit");
  assert.equal(config.vmwareUsername, "u");
  assert.equal(config.vmwarePath, "/DC/vm/web01");
  assert.equal(config.command, "migrate");
  assert.equal(config.stateDir, "/run/dir");
});

test("a cutover is asked nothing, and keeps old bytes where they outlive the run", () => {
  const own = worker({ "state-dir": "/own/state" });
  const planned = { ...settings, convert: "true" };
  const at = { vm: vm("web01", { settings: planned }), action: "cutover" } as const;
  const config = configOf(at, own, "/run/dir");
  assert.equal(config.yes, true);
  assert.equal(config.convert, true);
  assert.equal(config.keepOld, join("/own/state", "old-bytes"));
  const shared = { ...planned, "keep-old": "/shared" };
  const other = configOf({ ...at, vm: vm("web01", { settings: shared }) }, own, "/run/dir");
  assert.equal(other.keepOld, "/shared");
});

test("what only a cutover takes does not disturb a sync, and a wrong value names the VM", () => {
  const own = worker({});
  const planned = { ...settings, "shutdown-timeout": "5m" };
  configOf({ vm: vm("web01", { settings: planned }), action: "migrate" }, own, "/run/dir");
  assert.throws(
    () =>
      configOf(
        {
          vm: vm("web01", { settings: { ...planned, "shutdown-timeout": "soon" } }),
          action: "cutover",
        },
        own,
        "/run/dir",
      ),
    /the plan's web01: shutdown-timeout/,
  );
});

test("VMs at work share out the worker's memory", () => {
  const own = worker({ "parallel-vms": "4", memory: "256M" });
  const config = configOf({ vm: vm("web01", { settings }), action: "migrate" }, own, "/run/dir");
  assert.equal(config.memory, 64 << 20);
});

test("the fleet is told how a run ended: well, by a signal, for want of room, or by an error with its remedy", () => {
  assert.deepEqual(outcomeOf({ ending: { a: 1 } }), {
    status: "completed",
    exitCode: 0,
    ending: { a: 1 },
  });
  const stopped = outcomeOf({ error: new Interruption("SIGTERM"), ending: { a: 1 } });
  assert.deepEqual([stopped.status, stopped.exitCode], ["interrupted", 143]);
  const full = outcomeOf({ error: new MigratekitError("fleet-host-full", "full") });
  assert.deepEqual([full.status, full.errorCode], ["interrupted", "fleet-host-full"]);
  const failed = outcomeOf({
    error: new MigratekitError("vm-not-found", "no", { remedy: "look" }),
  });
  assert.deepEqual(
    [failed.status, failed.errorCode, failed.exitCode, failed.remedy],
    ["failed", "vm-not-found", 3, "look"],
  );
  const bug = outcomeOf({ error: new TypeError("x") });
  assert.deepEqual([bug.status, bug.errorCode, bug.exitCode], ["failed", "bug", 1]);
});
