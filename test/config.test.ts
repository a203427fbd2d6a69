import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { inspect } from "node:util";
import { requireSettings, resolveConfig } from "../src/config.ts";
import { MigratekitError } from "../src/errors.ts";
import type { OptionName } from "../src/options.ts";

const dir = mkdtempSync(join(tmpdir(), "mk-config-"));
after(() => rmSync(dir, { recursive: true }));

function file(name: string, content: string, mode = 0o600): string {
  const path = join(dir, name);
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

function resolve(flags: Record<string, string | boolean>, environment = {}) {
  return resolveConfig(
    "migrate",
    new Map(Object.entries(flags) as [OptionName, string][]),
    environment,
  );
}

function rejects(flags: Record<string, string | boolean>, environment: object, message: RegExp) {
  assert.throws(
    () => resolve(flags, environment),
    (error) =>
      error instanceof MigratekitError && error.exitCode === 2 && message.test(error.message),
  );
}

test("without anything given the contract's defaults hold", () => {
  const config = resolve({});
  assert.equal(config.nbdHost, "127.0.0.1");
  assert.equal(config.nbdPort, 10808);
  assert.equal(config.nbdExportName, "migration");
  assert.equal(config.vmaUrl, "http://localhost:8081");
  assert.equal(config.cloudstackApiUrl, "http://localhost:8082");
  assert.equal(config.parallelDisks, 2);
  assert.equal(config.sourceConnections, undefined);
  assert.equal(config.vddkTransports, "file:nbdssl:nbd");
  assert.equal(config.compressionMethod, "none");
  assert.equal(config.quiesceSnapshot, true);
});

test("a flag beats the environment, which beats the file", () => {
  const config = file("order.yaml", "nbd-port: 1111\nnbd-host: file.example\nparallel-disks: 3\n");
  const environment = { MIGRATEKIT_NBD_PORT: "2222", MIGRATEKIT_NBD_HOST: "env.example" };
  const settings = resolve({ config, "nbd-port": "3333" }, environment);
  assert.equal(settings.nbdPort, 3333);
  assert.equal(settings.nbdHost, "env.example");
  assert.equal(settings.parallelDisks, 3);
});

test("the old variables keep their meaning, and progress and change IDs keep separate jobs", () => {
  const environment = {
    NBD_LOCAL_PORT: "10900",
    CLOUDSTACK_API_URL: "http://oma:8082/",
    MIGRATEKIT_JOB_ID: "ids",
    MIGRATEKIT_PROGRESS_JOB_ID: "progress",
    MIGRATEKIT_VMA_URL: "http://vma:9",
    MIGRATEKIT_STATE_DIR: "/s",
  };
  const config = resolve({}, environment);
  assert.equal(config.nbdPort, 10900);
  assert.equal(config.cloudstackApiUrl, "http://oma:8082");
  assert.equal(config.changeIdJob, "ids");
  assert.equal(config.jobId, "progress");
  assert.equal(config.vmaUrl, "http://vma:9");
  assert.equal(config.stateDir, "/s");
  assert.equal(resolve({ "job-id": "flag" }, environment).jobId, "flag");
});

test("bad values are refused with the name of the flag, the variable or the line", () => {
  rejects({ "nbd-port": "70000" }, {}, /^--nbd-port is "70000".*1 to 65535/);
  rejects({}, { MIGRATEKIT_PARALLEL_DISKS: "x" }, /^MIGRATEKIT_PARALLEL_DISKS is "x"/);
  rejects(
    { config: file("a.yaml", "debug: true\nmax-rate: fast\n") },
    {},
    /a\.yaml:2: max-rate is "fast"/,
  );
  rejects(
    { config: file("b.yaml", "\nnbd-prot: 1\n") },
    {},
    /b\.yaml:2: unknown setting "nbd-prot" \(did you mean "nbd-port"\?\)/,
  );
  rejects({ config: file("c.yaml", "a: [1\n") }, {}, /c\.yaml:\d+: not valid YAML/);
  rejects({ config: join(dir, "none.yaml") }, {}, /cannot be read/);
  rejects({ "vmware-endpoint": "a b" }, {}, /--vmware-endpoint/);
  rejects({ "vma-url": "http://user:pw@host" }, {}, /must not carry credentials/);
});

test("targets in a configuration file may be a map", () => {
  const config = file("t.yaml", "nbd-targets:\n  2000: nbd://a/x\n  2001: nbd://b/y\n");
  assert.equal(resolve({ config }).nbdTargets, "2000:nbd://a/x,2001:nbd://b/y");
});

test("volumes and networks in a configuration file may be maps, whatever networks are called", () => {
  const id = "8d1f7a52-3c14-4f6e-9a0b-0123456789ab";
  const config = file(
    "cloud.yaml",
    `cloudstack-volumes:\n  2000: ${id}\nnetwork:\n  VM Network: lan,ip=auto\n  "a,b=c 5%": dmz\n`,
  );
  const flags = new Map([["config", config]] as const);
  const settings = resolveConfig("check", flags, {});
  assert.deepEqual(settings.cloudstackVolumes, new Map([[2000, id]]));
  assert.deepEqual(settings.network, [
    { portGroup: "VM Network", network: "lan", ip: "auto" },
    { portGroup: "a,b=c 5%", network: "dmz", ip: "keep" },
  ]);
});

test("the password comes from flag, variable, file or configuration, and only the flag warns", () => {
  const passwordFile = file("password", "from-file\nsecond line\n");
  assert.equal(
    resolve({ "vmware-password-file": passwordFile }).vmwarePassword?.reveal(),
    "from-file",
  );
  const byVariable = resolve({}, { MIGRATEKIT_VMWARE_PASSWORD: "from-env" });
  assert.equal(byVariable.vmwarePassword?.reveal(), "from-env");
  assert.deepEqual(byVariable.warnings, []);
  const byFlag = resolve(
    { "vmware-password": "from-flag" },
    { MIGRATEKIT_VMWARE_PASSWORD_FILE: passwordFile },
  );
  assert.equal(byFlag.vmwarePassword?.reveal(), "from-flag");
  assert.match(byFlag.warnings.join(), /--vmware-password shows the password/);
  const open = file("open.yaml", "vmware-password: from-config\n", 0o644);
  assert.match(resolve({ config: open }).warnings.join(), /others can read it/);
});

test("a password does not show when its settings are printed", () => {
  const config = resolve({ "vmware-password": "hunter2-marker" });
  assert.ok(!inspect(config, { depth: 9 }).includes("hunter2-marker"));
  assert.ok(!JSON.stringify(config).includes("hunter2-marker"));
  assert.ok(!`${config.vmwarePassword}`.includes("hunter2-marker"));
});

test("a variable of ours that nothing reads is warned of, with the likely name", () => {
  const config = resolve({}, { MIGRATEKIT_NBD_PROT: "1" });
  assert.match(config.warnings.join(), /MIGRATEKIT_NBD_PROT .*did you mean "nbd-port"/);
});

test("what a command cannot do without is asked for by flag, variable and field", () => {
  assert.throws(
    () => requireSettings(resolve({}), "vmware-endpoint", "vmware-path"),
    (error) =>
      error instanceof MigratekitError &&
      /--vmware-endpoint, --vmware-path/.test(error.message) &&
      /MIGRATEKIT_VMWARE_ENDPOINT/.test(error.remedy),
  );
});

test("endpoints are understood in the forms that people paste", () => {
  const host = (text: string) => resolve({ "vmware-endpoint": text }).vmwareEndpoint;
  assert.deepEqual(host("vc.example.com"), { host: "vc.example.com", port: 443 });
  assert.deepEqual(host("https://vc.example.com/sdk"), { host: "vc.example.com", port: 443 });
  assert.deepEqual(host("[fd00::1]:8443"), { host: "fd00::1", port: 8443 });
  assert.deepEqual(host("10.0.0.1:444"), { host: "10.0.0.1", port: 444 });
});

test("a locale of another character set is taken at its word, and so is a dumb terminal", () => {
  const unicode = (environment: object) => resolve({}, environment).unicode;
  assert.equal(unicode({ LANG: "en_US.UTF-8" }), true);
  assert.equal(unicode({ LANG: "C.utf8" }), true);
  assert.equal(unicode({}), true);
  assert.equal(unicode({ LANG: "C" }), false);
  assert.equal(unicode({ LANG: "en_US.UTF-8", LC_ALL: "POSIX" }), false);
  assert.equal(unicode({ LC_CTYPE: "de_DE.ISO-8859-1" }), false);
  const { colour, cursor } = resolve({}, { TERM: "dumb" });
  assert.deepEqual([colour, cursor], [false, false]);
});

test("the root of a guest is single, first or a device, and nothing else", () => {
  assert.equal(resolve({}).guestRoot, "single");
  assert.equal(resolve({ "guest-root": "/dev/vg0/root" }).guestRoot, "/dev/vg0/root");
  for (const value of ["ask", "sda2", "/dev/sda 2", "/etc/passwd"]) {
    rejects(
      { "guest-root": value },
      {},
      /--guest-root is ".*"; it takes single, first, or a device/,
    );
  }
});
