// What a command says that was called wrongly, and what it asks for.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { startCli } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { until } from "../until.ts";
import { connectionArgs } from "./cli-commands.ts";
import { assertFailure } from "./migrate-checks.ts";
import { startAtTerminal, withoutEscapes } from "./terminal.ts";

let lab: Lab;
let vm: LabVm;
before(async () => {
  lab = await startLab({ targets: "direct" });
  vm = lab.vm("MyVM");
});
after(() => lab.stop());

const root = join(import.meta.dirname, "../..");

/** `check` with all that a login takes but the password. */
function withoutPassword(): string[] {
  const args = connectionArgs(lab, vm);
  const at = args.indexOf("--vmware-password-file");
  return ["check", ...args.slice(0, at), ...args.slice(at + 2)];
}

test("where nobody can be asked, a missing password is to be given by a file", async () => {
  const run = await startCli({ args: withoutPassword() }).result;
  assert.equal(run.code, 2);
  assert.match(run.stdout, /check needs --vmware-password-file \[usage\]/);
  assert.match(run.stdout, /MIGRATEKIT_VMWARE_PASSWORD/);
});

test("at a terminal a missing password is asked for, and not shown", async () => {
  const { password, username } = lab.vcenter;
  const run = startAtTerminal({ args: [...withoutPassword(), "--json"], columns: 200 });
  await until("it asks", () => run.output().includes("Password of "));
  assert.ok(run.output().includes(`Password of ${username} at ${lab.vcenter.endpoint}: `));
  run.child.stdin!.write(`${password}\n`);
  const { output } = await run.result;
  assert.match(withoutEscapes(output), /"area":"vm","level":"ok"/, "it logged in");
  assert.ok(!output.includes(password));
});

test("Ctrl-C and no answer end the question", async () => {
  for (const [answer, code, said] of [
    ["\u0003", 130, /check was interrupted|SIGINT/],
    ["\n", 2, /no password was given/],
  ] as const) {
    const run = startAtTerminal({ args: withoutPassword(), columns: 200 });
    await until("it asks", () => run.output().includes("Password of "));
    run.child.stdin!.write(answer);
    const result = await run.result;
    assert.equal(result.code, code, result.output);
    assert.match(result.output, said);
  }
});

/** Every flag that names a file to read, and what has to stand beside it for it to be read. */
const fileFlags: [flag: string, beside: string[]][] = [
  ["--config", []],
  ["--vms", []],
  ["--vmware-password-file", []],
  ["--vmware-ca-file", []],
  ["--vddk-config", []],
  ["--nbd-tls-psk-file", ["--nbd-targets", "2000:nbds://localhost:1/x"]],
];

test("a file that is not there is missed in words, whatever flag names it", async () => {
  const [, ...all] = lab.migrateArgs(vm);
  for (const [flag, beside] of fileFlags) {
    const displaced = [flag, ...beside];
    if (flag === "--vms") displaced.push("--vmware-path");
    if (flag === "--vmware-ca-file") displaced.push("--vmware-thumbprint");
    if (flag === "--nbd-tls-psk-file") displaced.push("--nbd-export-name");
    const kept = all.filter((_, at) => !displaced.includes(all[at - (at % 2)]!));
    const args = ["migrate", ...kept, ...beside, flag, "/nonexistent/nope"];
    const run = await startCli({ args }).result;
    assertFailure(run, 2, /\/nonexistent\/nope.*: there is no such file/);
    assert.doesNotMatch(run.stderr, /ENOENT|open '|stat '/, flag);
  }
});

test("a file that root alone may read names the account that root goes on as", async () => {
  const home = join(lab.dir, "root-only");
  mkdirSync(home, { mode: 0o700 });
  const list = join(home, "list.yaml");
  writeFileSync(list, "vms: []\n", { mode: 0 });
  const args = ["migrate", "--vms", list];
  if (process.getuid?.() !== 0) {
    assertFailure(await startCli({ args }).result, 2, /cannot be read: permission denied$/);
    return;
  }
  const varLib = join(lab.dir, "var-lib");
  mkdirSync(join(varLib, "migratekit"), { recursive: true });
  chmodSync(varLib, 0o755);
  chownSync(join(varLib, "migratekit"), 65534, 65534);
  const script = `mount --bind ${varLib} /var/lib && exec "$@"`;
  const run = await startCli({ args, within: ["unshare", "--mount", "sh", "-c", script, "sh"] })
    .result;
  assertFailure(run, 2, /list\.yaml: cannot be read: permission denied to nobody, the account/);
});

test("an unknown command is one with --help, too", async () => {
  for (const args of [["nosuch"], ["nosuch", "--help"], ["nosuch", "-h"], ["help", "nosuch"]]) {
    const run = await startCli({ args }).result;
    assert.equal(run.code, 2, args.join(" "));
    assert.equal(run.stdout, "");
  }
  const near = await startCli({ args: ["migrat", "--help"] }).result;
  assert.match(near.stderr, /unknown command 'migrat'[\s\S]*Did you mean migrate\?/);
});

test("the demonstration refuses what it does not know", () => {
  const demo = spawnSync(join(root, ".ci/node"), [join(root, "test/lab/demo.ts"), "--nosuch"], {
    encoding: "utf8",
  });
  assert.equal(demo.status, 2);
  assert.match(demo.stderr, /--nosuch is not known/);
  assert.equal(demo.stdout, "");
});
