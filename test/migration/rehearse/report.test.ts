import assert from "node:assert/strict";
import { test } from "node:test";
import type { RehearsalSummary } from "../../../src/migration/rehearse/document.ts";
import { rehearsalText } from "../../../src/report/conversion/rehearsal.ts";
import { statusDocument } from "../../../src/report/json/status.ts";
import { factsText, type ShownJob } from "../../../src/report/status-text.ts";
import { breachesOf } from "../../lab/json-schema.ts";

const mac = "00:50:56:8a:10:01";
type Boot = NonNullable<RehearsalSummary["boot"]>;
const boot: Boot = {
  verdict: "boots",
  reason: "the console asks for a login",
  accelerator: "tcg",
  console: "login",
  ...{ kernel: true, root_mounted: true, written_bytes: 1, restarts: 0 },
  ...{ addresses: [{ mac, address: "192.0.2.10" }], console_tail: ["web01 login:"] },
  ...{ screenshot: "/tmp/web01.png", boot_ms: 71_000, duration_ms: 75_000 },
};
const summary: RehearsalSummary = {
  vm: { path: "/DC/vm/web01", instance_uuid: "u" },
  ...{ run_id: "r", verdict: "boots", reason: boot.reason, duration_ms: 200_000 },
  conversion: {
    verdict: "boots",
    hardware: {
      ...{ controller: "virtio", firmware: "bios", secure_boot: false, machine: "pc" },
      nics: [{ mac, model: "virtio" }],
    },
    guest: { os: "linux", product: "Debian GNU/Linux 12 (bookworm)" },
    ...{ repairs: [], findings: [], duration_ms: 121_000 },
  },
  boot,
  forecast: {
    ...{ last_sync_ms: 12_000, delta_bytes: 5 * 1024 * 1024, conversion_ms: 121_000 },
    ...{ start_ms: 71_000, downtime_ms: 204_000 },
  },
};

test("the report says what was seen, where the picture is, and what a cutover would take", () => {
  const text = rehearsalText(summary);
  assert.match(text, /^\/DC\/vm\/web01: boots\n/);
  assert.match(text, /^ {2}started {5}boots: the console asks for a login$/m);
  assert.match(text, /^ {2} {11} up after 1:11, in software/m);
  assert.match(text, /^ {2}picture {5}\/tmp\/web01\.png$/m);
  assert.match(
    text,
    /^ {2}downtime {4}about 3:24: last sync 0:12 for 5\.0 MiB, conversion 2:01, start 1:11; besides/m,
  );
  assert.doesNotMatch(text, /web01 login/);
});

test("of a guest that does not come up the console's last lines are shown", () => {
  const { boot_ms: _, ...rest } = boot;
  const failed: Boot = {
    ...rest,
    verdict: "will-not-boot",
    reason: "the kernel panicked",
    screenshot: null,
    console_tail: ["Kernel panic - not syncing"],
  };
  const text = rehearsalText({ ...summary, verdict: "will-not-boot", boot: failed });
  assert.match(text, /started {5}does not boot: the kernel panicked\n/);
  assert.match(text, /watched for 1:15/);
  assert.match(text, /console {5}Kernel panic - not syncing\n/);
  assert.doesNotMatch(text, /picture/);
});

test("what was not measured is said, with what would measure it", () => {
  const { boot: _, ...unstarted } = summary;
  const text = rehearsalText({ ...unstarted, forecast: { conversion_ms: 121_000 } });
  assert.match(
    text,
    /downtime {4}last sync not measured \(sync once more\), conversion 2:01, start/,
  );
  assert.match(text, /start not measured \(--boot\)/);
});

test("a job's status says that its VM was rehearsed, how that went, and how long ago", () => {
  const at = new Date(Date.now() - 4 * 86_400_000 - 60_000).toISOString();
  const job: ShownJob = {
    ...{ jobId: "job-1", status: "completed", syncType: "incremental", phase: "Complete" },
    ...{ currentOperation: "Complete", percentage: 100, bytesTransferred: 0, totalBytes: 0 },
    ...{ currentMbps: undefined, etaSeconds: undefined, errorMessage: undefined, disks: [] },
    rehearsed: { at, runId: "r", verdict: "will-not-boot" },
  };
  assert.match(factsText(job), /, rehearsed, will not boot, 4 d ago$/);
  assert.deepEqual(statusDocument(job).rehearsed, { at, run_id: "r", verdict: "will-not-boot" });
});

test("its document is as the schema says, with and without a start", () => {
  const document = JSON.parse(JSON.stringify({ status: "completed", exit_code: 0, ...summary }));
  assert.deepEqual(breachesOf("rehearse", document), []);
  const { boot: _, ...unstarted } = document;
  assert.deepEqual(breachesOf("rehearse", { ...unstarted, verdict: "converts" }), []);
  const error = { code: "guest-will-not-boot", message: "m", remedy: "r" };
  const refused = { ...document, status: "failed", exit_code: 9, error, verdict: "unclear" };
  assert.deepEqual(breachesOf("rehearse", refused), []);
  assert.notDeepEqual(breachesOf("rehearse", { ...document, verdict: "perhaps" }), []);
});
