// --hook-before and --hook-after: real programs, and what they are told, may take and may change; --webhook beside them.

import assert from "node:assert/strict";
import { once } from "node:events";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { isRunning } from "../lab/process-table.ts";
import { startCli } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import { makeNbdCertificates } from "../lab/tls.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { until } from "../until.ts";
import { runCommand } from "./cli-commands.ts";
import { assertFailure, migrateWell } from "./migrate-checks.ts";

let lab: Lab;
let vm: LabVm;
const dir = mkdtempSync(join(tmpdir(), "mk-hooks-"));
before(async () => {
  const fill = { seed: 5, dataRatio: 0.9, zeroRatio: 0 };
  lab = await startLab({
    targets: "direct",
    vms: ["web01", "web02"].map((name) => ({ name, disks: [{ capacityBytes: 1 << 20, fill }] })),
  });
  vm = lab.vm("web01");
});
after(async () => {
  rmSync(dir, { recursive: true });
  await lab.stop();
});
beforeEach(() => lab.vcenter.log.clear());

/** A program of this name; $0 with an ending is where it may leave something. */
function program(name: string, script: string): string {
  const path = join(dir, name);
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return path;
}

const keep = 'cat > "$0.in"; env > "$0.env"; echo "heard"; echo "and seen" >&2';
const left = (path: string, ending: string) => readFileSync(`${path}.${ending}`, "utf8");
const told = (path: string) => JSON.parse(left(path, "in")) as Record<string, unknown>;

test("both are told of the run, the second of its ending; what they print is in the log, nothing secret in their hands", async () => {
  const [first, second] = [program("first", keep), program("second", keep)];
  const env = { MIGRATEKIT_VMWARE_PASSWORD: lab.vcenter.password, SOME_TOKEN: "geheim97" };
  const { log } = await migrateWell(
    lab,
    vm,
    { jobId: "hooked", extra: ["--hook-before", first, "--hook-after", second] },
    env,
  );
  const begun = told(first);
  assert.equal(begun.event, "before");
  assert.deepEqual(
    [begun.command, begun.vm_path, begun.endpoint, begun.job_id, begun.state_dir],
    ["migrate", vm.path, lab.vcenter.endpoint, "hooked", lab.stateDir],
  );
  const ended = told(second) as {
    event: string;
    status: string;
    exit_code: number;
    summary: object;
  };
  assert.deepEqual([ended.event, ended.status, ended.exit_code], ["after", "completed", 0]);
  assert.equal((ended.summary as { sync_type: string }).sync_type, "full");
  assert.match(log, /"--hook-before: heard"/);
  assert.match(log, /"--hook-after: and seen"/);
  for (const path of [first, second]) {
    assert.match(left(path, "env"), /^PATH=/m);
    for (const text of [left(path, "env"), left(path, "in")]) {
      assert.ok(!text.includes(lab.vcenter.password));
      assert.doesNotMatch(text, /MIGRATEKIT_|SOME_TOKEN/);
    }
  }
});

test("a before-hook that fails ends the run before anything is touched, and the second one is told so", async () => {
  const second = program("told-of-failure", keep);
  const refusing = program("refusing", 'echo "the change is not approved" >&2; exit 3');
  const run = await lab.migrate(vm, {
    jobId: "refused",
    extra: ["--hook-before", refusing, "--hook-after", second, "--json"],
  });
  assertFailure(
    run,
    2,
    /\[hook-failed\].*exit code 3: the change is not approved; nothing was begun/,
    /stdin/,
  );
  assert.deepEqual(lab.vcenter.log.calls, [], "vSphere was not asked");
  const ended = told(second) as { status: string; error: { code: string } };
  assert.deepEqual([ended.status, ended.error.code], ["failed", "hook-failed"]);
  assert.equal(lab.vma.jobs.get("refused")?.status, "failed");
  const list = await startCli({ args: ["list", "--json", "--state-dir", lab.stateDir] }).result;
  assert.match(list.stdout, /failed \[hook-failed\]/);
});

test("a hook that does not end is ended with all that it started, in bounded time", async () => {
  const hanging = program(
    "hanging",
    'sleep 301 & echo $! > "$0.pid"; trap "" TERM; wait; sleep 302',
  );
  const extra = ["--hook-timeout", "1s"];
  const run = await lab.migrate(vm, { extra: [...extra, "--hook-before", hanging] });
  assertFailure(run, 2, /\[hook-failed\].*not done after 0:01 \(--hook-timeout\)/, /./);
  const pid = Number(left(hanging, "pid"));
  await until("its child is gone", () => !isRunning(pid));
  const { log } = await migrateWell(lab, vm, { extra: [...extra, "--hook-after", hanging] });
  assert.match(log, /"level":40,.*--hook-after .*hanging was not done after/);
});

test("whatever an after-hook does, the ending stays as it was", async () => {
  for (const script of ["exit 7", "kill -KILL $$", "exec 0<&-; exit 0", "rm -f $0; exit 1"]) {
    const { log } = await migrateWell(lab, vm, { extra: ["--hook-after", program("bad", script)] });
    if (script !== "exec 0<&-; exit 0") assert.match(log, /"level":40,.*--hook-after /, script);
  }
  const refused = await lab.migrate(vm, {
    extra: ["--nbd-export-name", "none", "--hook-after", program("bad", "exit 7")],
  });
  assertFailure(refused, 5, /\[target-refused\]/, /./);
});

test("one that leaves a program running is not waited for", async () => {
  const leaving = program("leaving", 'sleep 900 & echo $! > "$0.pid"');
  await migrateWell(lab, vm, { extra: ["--hook-before", leaving] });
  const pid = Number(left(leaving, "pid"));
  assert.ok(existsSync(`/proc/${pid}`), "it runs on, with the hook's output open");
  process.kill(pid);
});

test("a signal ends a before-hook, and the second one hears of it", async () => {
  const second = program("told-of-signal", keep);
  const slow = program("slow", 'touch "$0.begun"; exec sleep 303');
  const run = startCli({
    args: lab.migrateArgs(vm, { extra: ["--hook-before", slow, "--hook-after", second] }),
  });
  await until("it runs", () => existsSync(`${slow}.begun`));
  run.child.kill("SIGTERM");
  assert.equal((await run.result).signal, "SIGTERM");
  assert.equal(told(second).status, "interrupted");
  assert.deepEqual(lab.vcenter.log.calls, []);
});

test("a program that cannot be run is refused at the start, the second one, too", async () => {
  const plain = join(dir, "plain");
  writeFileSync(plain, "#!/bin/sh\n");
  for (const flag of ["--hook-before", "--hook-after"]) {
    for (const [path, why] of [
      ["/no/such/hook", /there is no such file/],
      [dir, /it is not a file/],
      [plain, /permission denied/],
    ] as const) {
      const run = await lab.migrate(vm, { extra: [flag, path] });
      assertFailure(run, 2, new RegExp(`${flag} .*cannot be run: .*${why.source}`), /script/);
    }
  }
  assert.deepEqual(lab.vcenter.log.calls, []);
});

test("cutover and verify have them; each VM of a list has its own", async () => {
  const second = program("of-others", 'cat >> "$0.in"');
  const extra = ["--hook-after", second];
  assert.equal((await runCommand(lab, "verify", vm, { extra })).code, 0);
  const cut = await runCommand(lab, "cutover", vm, { extra: [...extra, "--yes"] });
  assert.equal(cut.code, 0, cut.stderr);
  const lines = left(second, "in").trimEnd().split("\n");
  const events = lines.map(
    (line) => JSON.parse(line) as { command: string; summary?: { final_sync?: object } },
  );
  assert.deepEqual(
    events.map(({ command }) => command),
    ["verify", "cutover"],
  );
  assert.ok(events[1]!.summary!.final_sync);

  const [web1, web2] = [vm, lab.vm("web02")];
  const entry = (machine: LabVm) =>
    `  - vmware-path: ${machine.path}\n    nbd-export-name: ${lab.targets.exportTemplate(machine)}\n`;
  const own = program("of-web02", keep);
  const list = join(dir, "list.yaml");
  writeFileSync(
    list,
    `vms:\n${entry(web1!)}    reopen: true\n${entry(web2)}    hook-before: ${own}\n`,
  );
  const args = lab.migrateArgs(vm);
  const dropped = new Set(["--vmware-path", "--nbd-export-name"]);
  const kept = args.filter((word, at) => !dropped.has(word) && !dropped.has(args[at - 1]!));
  const run = await startCli({ args: [...kept, "--vms", list] }).result;
  assert.equal(run.code, 0, run.stderr);
  assert.equal(told(own).vm_path, web2.path);
});

test("a server whom the system's authorities vouch for is told of a run, and nobody sees where it is", async (t) => {
  const { serverDir, caFile } = await makeNbdCertificates(join(dir, "webhook"));
  const [key, cert] = ["key", "cert"].map((name) =>
    readFileSync(join(serverDir, `server-${name}.pem`)),
  );
  const told: { pid: number; status: string }[] = [];
  let commandLine = "";
  const server = createServer({ key, cert }, async (request, response) => {
    told.push(JSON.parse(Buffer.concat(await request.toArray()).toString()));
    commandLine = readFileSync(`/proc/${told.at(-1)!.pid}/cmdline`, "utf8");
    response.end();
  }).listen(0, "127.0.0.1");
  t.after(() => server.close());
  await once(server, "listening");
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/in/token-97531`;
  const extra = ["--webhook", url, "--debug"];
  const { log } = await migrateWell(lab, vm, { extra }, { SSL_CERT_FILE: caFile });
  assert.deepEqual(
    told.map(({ status }) => status),
    ["completed"],
  );
  assert.match(commandLine, /--webhook/);
  for (const text of [log, commandLine]) assert.ok(!text.includes("token-97531"), text);
});
