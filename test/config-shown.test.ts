// `config show`, and `--config NAME`.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { resolveConfig, type ShownSetting, shownSettings } from "../src/config.ts";
import { MigratekitError } from "../src/errors.ts";
import { type OptionName, options } from "../src/options.ts";
import { startCli } from "./lab/run-cli.ts";

const etc = mkdtempSync(join(tmpdir(), "mk-etc-"));
after(() => rmSync(etc, { recursive: true }));
mkdirSync(join(etc, "vms"));
const system = join(etc, "config.yaml");
const web = join(etc, "vms", "web01.yaml");
writeFileSync(system, "# all\nnbd-port: 1\nnbd-host: everywhere\nparallel-disks: 4\n");
writeFileSync(web, "nbd-host: web.example\nvmware-password: geheim99\n", { mode: 0o600 });

const given = (flags: Record<string, string | boolean>) =>
  new Map(Object.entries(flags) as [OptionName, string | boolean][]);

test("a name stands for the VM's file beside the machine's, a path for itself", () => {
  const byName = resolveConfig("migrate", given({ config: "web01" }), {}, system);
  const byPath = resolveConfig("migrate", given({ config: web }), {}, system);
  for (const config of [byName, byPath]) {
    assert.equal(config.nbdHost, "web.example");
    assert.equal(config.nbdPort, 1);
  }
  const variable = { MIGRATEKIT_CONFIG: "web01" };
  assert.equal(resolveConfig("migrate", given({}), variable, system).nbdHost, "web.example");
});

test("a file of that name where one stands is meant, a folder is not", () => {
  const before = process.cwd();
  const work = mkdtempSync(join(etc, "work-"));
  process.chdir(work);
  try {
    mkdirSync("web01");
    const resolve = (config: string) =>
      resolveConfig("migrate", given({ config }), {}, system).nbdHost;
    assert.equal(resolve("web01"), "web.example");
    rmSync("web01", { recursive: true });
    writeFileSync("web01", "nbd-host: here.example\n");
    assert.equal(resolve("web01"), "here.example");
  } finally {
    process.chdir(before);
  }
});

test("a name that leads nowhere is refused with both places, a path with its own", () => {
  for (const [config, message] of [
    ["web02", new RegExp(`neither web02 nor ${etc}/vms/web02.yaml`)],
    ["web02.yaml", /--config web02\.yaml: cannot be read: there is no such file$/],
    ["./web02", /--config \.\/web02: cannot be read/],
  ] as const) {
    assert.throws(
      () => resolveConfig("migrate", given({ config }), {}, system),
      (error) =>
        error instanceof MigratekitError && error.code === "usage" && message.test(error.message),
    );
  }
});

test("each setting is shown with the nearest place that it comes from, and no secret", () => {
  const environment = { MIGRATEKIT_PARALLEL_DISKS: "8", NBD_LOCAL_PORT: "7" };
  const flags = given({ config: "web01", "vmware-username": "me", "quiesce-snapshot": false });
  const settings = shownSettings(flags, environment, system);
  assert.deepEqual(
    settings.map(({ name }) => name),
    Object.keys(options),
  );
  const shown = (name: OptionName) => {
    const { group: _, name: __, ...rest } = settings.find((setting) => setting.name === name)!;
    return rest as Partial<ShownSetting>;
  };
  assert.deepEqual(shown("vmware-username"), {
    value: "me",
    from: "flag",
    place: "--vmware-username",
  });
  assert.deepEqual(shown("quiesce-snapshot"), {
    value: "false",
    from: "flag",
    place: "--quiesce-snapshot",
  });
  assert.deepEqual(shown("nbd-port"), { value: "7", from: "variable", place: "NBD_LOCAL_PORT" });
  assert.deepEqual(shown("parallel-disks"), {
    value: "8",
    from: "variable",
    place: "MIGRATEKIT_PARALLEL_DISKS",
  });
  assert.deepEqual(shown("nbd-host"), { value: "web.example", from: "file", place: `${web}:1` });
  assert.deepEqual(shown("vmware-password"), {
    value: "[secret]",
    from: "file",
    place: `${web}:2`,
  });
  assert.deepEqual(shown("max-passes"), { value: "5", from: "default" });
  assert.deepEqual(shown("vmware-path"), { from: "unset" });
  assert.match(shown("state-dir").value!, /^\//);
  assert.ok(!JSON.stringify(settings).includes("geheim99"));
});

test("config show prints it as text and as JSON, reads no password, and names a bad value", async () => {
  const flags = ["--vmware-password-file", "/does/not/exist", "--nbd-port", "10"];
  const env = { MIGRATEKIT_VMWARE_PASSWORD: "geheim98" };
  const text = await startCli({ args: ["config", "show", ...flags], env }).result;
  assert.equal(text.code, 0, text.stderr);
  assert.match(text.stdout, /^Target:\n(?: {2}.*\n)* {2}nbd-port +10 +--nbd-port$/m);
  assert.match(text.stdout, /^ {2}vmware-password +\[secret\] +MIGRATEKIT_VMWARE_PASSWORD$/m);
  const json = await startCli({ args: ["config", "show", "--json", ...flags], env }).result;
  const document = JSON.parse(json.stdout) as { settings: ShownSetting[] };
  assert.equal(document.settings.find(({ name }) => name === "nbd-port")!.place, "--nbd-port");
  assert.ok(!`${text.stdout}${json.stdout}`.includes("geheim98"));
  const bad = await startCli({ args: ["config", "show", "--nbd-port", "x"] }).result;
  assert.equal(bad.code, 2);
  assert.match(bad.stderr, /--nbd-port is "x"/);
  const unknown = await startCli({ args: ["config", "edit"] }).result;
  assert.match(unknown.stderr, /config knows no action "edit"/);
});
