import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { resolveConfig } from "../../src/config.ts";
import { readConfigFile } from "../../src/config-file.ts";

const folder = mkdtempSync(join(tmpdir(), "system-config-"));
after(() => rmSync(folder, { recursive: true }));

function file(name: string, text: string): string {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
}

test("the machine's file is the weakest: --config, variables and flags each beat it", () => {
  const system = file(
    "system.yaml",
    "nbd-port: 1\nnbd-host: one\nmax-rate: 1M\nparallel-disks: 1\n",
  );
  const own = file("own.yaml", "nbd-port: 2\nnbd-host: two\nmax-rate: 2M\n");
  const flags = new Map([
    ["config", own],
    ["nbd-port", "4"],
  ] as const);
  const environment = { MIGRATEKIT_NBD_HOST: "three" };
  const config = resolveConfig("migrate", flags, environment, system);
  assert.deepEqual(
    [config.nbdPort, config.nbdHost, config.maxRate?.[0]?.bytesPerSecond, config.parallelDisks],
    [4, "three", 2 * 1024 ** 2, 1],
  );
});

test("a machine without the file has the defaults; a mistake in it is named by its line", () => {
  const none = resolveConfig("migrate", new Map(), {}, join(folder, "none.yaml"));
  assert.equal(none.nbdPort, 10808);
  const wrong = file("wrong.yaml", "# first line\nnbd-prot: 1\n");
  assert.throws(
    () => resolveConfig("migrate", new Map(), {}, wrong),
    /wrong\.yaml:2: unknown setting "nbd-prot" \(did you mean "nbd-port"\?\)/,
  );
});

test("the file that the package brings changes nothing, and every line that it proposes is valid", () => {
  const packaged = join(import.meta.dirname, "../../.ci/package/files");
  assert.equal(readConfigFile(join(packaged, "config.yaml")).values.size, 0);
  const proposed = readFileSync(join(packaged, "config.yaml"), "utf8").replaceAll(
    /^#(?=[a-z-]+: )/gm,
    "",
  );
  const all = readConfigFile(file("proposed.yaml", proposed));
  assert.ok(all.values.size >= 10);
  const thumbprint = new Map([["vmware-thumbprint", "AA".repeat(20)]] as const);
  resolveConfig("migrate", thumbprint, {}, join(folder, "proposed.yaml"));
  const example = readConfigFile(join(packaged, "vm.yaml"));
  assert.equal(example.values.get("vmware-path"), "/Datacenter/vm/Folder/web01");
});
