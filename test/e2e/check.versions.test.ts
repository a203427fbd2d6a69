import assert from "node:assert/strict";
import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type Lab, startLab } from "../lab/start-lab.ts";
import { nfcPort } from "./cli-commands.ts";
import { assertFailure } from "./migrate-checks.ts";
import { preflightHere } from "./preflight.ts";

const vm = {
  name: "vm01",
  disks: [{ capacityBytes: 1 << 20, fill: { seed: 1, dataRatio: 0.5, zeroRatio: 0 } }],
};

let vcenter: Lab;
let host: Lab;
before(async () => {
  vcenter = await startLab({ targets: "direct", vms: [vm] });
  host = await startLab({ targets: "direct", vms: [vm], vcenter: { apiType: "HostAgent" } });
});
after(async () => {
  await vcenter.stop();
  await host.stop();
});

interface Row {
  /** What `about` says, and which VDDK is there. */
  endpoint: "vcenter" | "host";
  version: string;
  apiVersion: string;
  hostVersion?: string;
  vddk: string;
  /** Of all findings that are no `ok` and speak of a version. */
  wanted: RegExp | undefined;
  level?: "problem" | "warning";
  remedy?: RegExp;
}

const rows: Row[] = [
  {
    ...{ endpoint: "host", version: "5.5.0", apiVersion: "5.5", vddk: "8" },
    ...{ level: "problem", wanted: /the ESXi host is version 5\.5\.0, older than 6\.5/ },
  },
  {
    ...{ endpoint: "vcenter", version: "6.0.0", apiVersion: "6.0", vddk: "8" },
    ...{ level: "problem", wanted: /the vCenter is version 6\.0\.0, older than 6\.5/ },
  },
  {
    ...{ endpoint: "vcenter", version: "6.5.0", apiVersion: "6.5", vddk: "8" },
    ...{
      level: "warning",
      wanted: /VDDK 8 begins at 6\.7, and the ESXi host localhost is version 6/,
    },
    remedy: /Take VDDK 7, /,
  },
  {
    ...{ endpoint: "host", version: "6.5.0", apiVersion: "6.5", vddk: "8" },
    ...{ level: "warning", wanted: /VDDK 8 begins at 6\.7/ },
    remedy: /Take VDDK 7, /,
  },
  {
    ...{ endpoint: "vcenter", version: "6.7.0", apiVersion: "6.7", vddk: "9" },
    ...{ level: "warning", wanted: /VDDK 9 begins at 7\.0/ },
    remedy: /Take VDDK 8 or 7, /,
  },
  {
    ...{ endpoint: "vcenter", version: "9.0.0", apiVersion: "9.0.0.0", vddk: "7" },
    ...{ level: "warning", wanted: /VDDK 7 ends at 8\.0/ },
    remedy: /Take VDDK 9 or 8, /,
  },
  {
    ...{ endpoint: "vcenter", version: "9.0.0", apiVersion: "9.0.0.0", vddk: "8" },
    wanted: undefined,
  },
  {
    ...{ endpoint: "vcenter", version: "8.0.3", apiVersion: "8.0.3.0", vddk: "8" },
    wanted: undefined,
  },
  {
    ...{ endpoint: "vcenter", version: "8.0.3", apiVersion: "8.0.3.0", vddk: "8" },
    hostVersion: "6.0.0",
    ...{ level: "problem", wanted: /the ESXi host localhost is version 6\.0\.0, older than 6\.5/ },
    remedy: /Data comes from the host, whatever its vCenter is/,
  },
  {
    ...{ endpoint: "vcenter", version: "9.0.0", apiVersion: "9.0.0.0", vddk: "7" },
    hostVersion: "7.0.3",
    wanted: undefined,
  },
  {
    ...{ endpoint: "vcenter", version: "10.0.0", apiVersion: "10.0.0.0", vddk: "8" },
    ...{ level: "warning", wanted: /VDDK 8 ends at 9\.0/ },
    remedy: /Take VDDK 9, /,
  },
];

for (const row of rows) {
  const where = row.hostVersion === undefined ? "" : ` and a host of ${row.hostVersion}`;
  const verdict = row.wanted === undefined ? "nothing to say" : `a ${row.level}`;
  test(`VDDK ${row.vddk} with ${row.endpoint} ${row.version}${where}: ${verdict}`, async () => {
    const lab = row.endpoint === "host" ? host : vcenter;
    lab.vcenter.setRelease(row);
    lab.vcenter.setHost("localhost", { version: row.hostVersion });
    const nbdkit = await nbdkitWithVddk(lab, row.vddk);
    const [, ...args] = lab.migrateArgs(lab.vm("vm01"), { extra: ["--nbdkit", nbdkit] });
    const { findings, code } = await preflightHere(["check", ...args], {
      MIGRATEKIT_VDDK_NFC_PORT: nfcPort(lab),
    });
    await assertSameOfRun(lab, nbdkit, row);
    const found = findings.filter(
      ({ level, message }) => level !== "ok" && /\bversion \d|VDDK \d/.test(message),
    );
    const shown = JSON.stringify(findings, undefined, 2);
    assert.equal(found.length, row.wanted === undefined ? 0 : 1, shown);
    assert.equal(code, row.level === "problem" ? 3 : 0, shown);
    if (row.wanted === undefined) return;
    const [finding] = found;
    assert.equal(finding?.level, row.level);
    assert.match(finding?.message ?? "", row.wanted);
    assert.match(finding?.remedy ?? "", row.remedy ?? /6\.5/);
  });
}

/** `migrate` refuses what `check` calls a problem, before it touches the VM, and warns where it warns. */
async function assertSameOfRun(lab: Lab, nbdkit: string, row: Row): Promise<void> {
  lab.vcenter.log.clear();
  const run = await lab.migrate(lab.vm("vm01"), { extra: ["--nbdkit", nbdkit] });
  const [line] = run.stderr.split("\n").filter((text) => / is version \d/.test(text));
  if (row.level === "problem") {
    assertFailure(run, 3, row.wanted!, row.remedy ?? /6\.5/);
    const changes = lab.vcenter.log.calls.filter(({ method }) => method.endsWith("_Task"));
    assert.deepEqual(changes, []);
    return;
  }
  assert.equal(run.code, 0, run.stderr);
  if (row.wanted === undefined) return assert.equal(line, undefined);
  assert.match(line!, row.wanted);
  assert.match(line!, row.remedy!);
}

test("where the host's version may not be read, its vCenter's stands for it", async () => {
  vcenter.vcenter.setRelease({ version: "9.0.0", apiVersion: "9.0.0.0" });
  vcenter.vcenter.setHost("localhost", { version: "" });
  const [, ...args] = vcenter.migrateArgs(vcenter.vm("vm01"), {
    extra: ["--nbdkit", await nbdkitWithVddk(vcenter, "7")],
  });
  const { findings, code } = await preflightHere(["check", ...args], {
    MIGRATEKIT_VDDK_NFC_PORT: nfcPort(vcenter),
  });
  assert.equal(code, 0);
  const found = findings.filter(({ message }) => /ends at 8\.0/.test(message));
  assert.match(found[0]?.message ?? "", /the vCenter is version 9\.0\.0/);
});

/** The real nbdkit and plugin, which here say of the library that it is another one. */
async function nbdkitWithVddk(lab: Lab, version: string): Promise<string> {
  const path = join(lab.dir, `nbdkit-vddk-${version}`);
  const said = `s/^vddk_library_version=.*/vddk_library_version=${version}/`;
  await writeFile(path, `#!/bin/sh\nnbdkit "$@" | sed '${said}'\n`);
  await chmod(path, 0o755);
  return path;
}
