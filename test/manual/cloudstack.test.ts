// docs/cloudstack.md lists the commands of the API that are used, and its settings files are such.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { copyFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { parse } from "yaml";
import { usedCommands } from "../../src/cloudstack/commands.ts";
import { type OptionSpec, options } from "../../src/options.ts";
import { startCloudStack } from "../lab/cloudstack/cloudstack.ts";
import { startExporter } from "../lab/exporter.ts";
import { RawClient } from "../lab-tests/cloudstack-client.ts";
import { tempDir } from "../temp-dir.ts";
import { until } from "../until.ts";

const page = readFileSync(join(import.meta.dirname, "../../docs/cloudstack.md"), "utf8");

test("the role's commands stand in the table under their use, all of them and no others", () => {
  const uses = ["always", "volumes", "deploy", "optional"];
  const rows = ["all", "volumes", "a cutover", "more findings, where they are allowed"];
  for (const [at, row] of rows.entries()) {
    const [, cells = ""] = new RegExp(`^\\| ${row} \\| (.*) \\|$`, "m").exec(page) ?? [];
    const named = [...cells.matchAll(/`(\w+)`/g)].map(([, name]) => name!);
    const used = Object.entries(usedCommands).filter(([, use]) => use === uses[at]);
    assert.deepEqual(named.toSorted(), used.map(([name]) => name).toSorted(), row);
  }
});

test("every field of its settings files is a setting, with a value that is taken", () => {
  const files = [...page.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map(([, text]) => parse(text!));
  assert.equal(files.length, 3);
  for (const [name, value] of files.flatMap((file) => Object.entries(file as object))) {
    const spec = (options as Readonly<Record<string, OptionSpec>>)[name];
    assert.ok(spec, name);
    spec.parse(String(value));
  }
});

const run = promisify(execFile);

test("the certificates that its commands make serve an export and its client, and the client alone", async () => {
  const [, block = ""] = /^```sh\n(openssl req -x509[\s\S]*?)^```$/m.exec(page) ?? [];
  await using dir = await tempDir();
  const commands = block.replaceAll("appliance.example.com", "localhost");
  await run("sh", ["-e", "-c", commands], { cwd: dir.path });
  const folders = { server: join(dir.path, "server"), client: join(dir.path, "client") };
  for (const [side, folder] of Object.entries(folders)) {
    await mkdir(folder);
    for (const name of ["ca-cert.pem", `${side}-cert.pem`, `${side}-key.pem`])
      await copyFile(join(dir.path, name), join(folder, name));
  }
  await using lab = await startCloudStack({ boots: false });
  const client = new RawClient(lab);
  const id = await client.volume("one");
  await client.job("attachVolume", { id, virtualmachineid: lab.appliance.id });
  const args = ["--export-volumes", id, "--listen-tls-certificates", folders.server];
  await using exporter = await startExporter(lab, { stateDir: join(dir.path, "state"), args });
  const uri = `nbds://localhost:${exporter.port}/${id}`;
  const sizeWith = (query: string) =>
    run("nbdinfo", ["--size", `${uri}${query}`]).then(({ stdout }) => stdout.trim(), String);
  const own = `?tls-certificates=${folders.client}`;
  await until("it is exported", async () => (await sizeWith(own)) === `${1 << 30}`);
  assert.notEqual(await sizeWith(`?tls-certificates=${join(dir.path, "nothing")}`), `${1 << 30}`);
});
