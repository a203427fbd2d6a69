// `fleet check-target` against real servers of a kernel that lets go soon: a network namespace.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { before, test } from "node:test";
import { promisify } from "node:util";

const root = join(import.meta.dirname, "../..");
const asRoot = process.getuid?.() === 0 ? [] : ["--map-root-user"];

interface Silence {
  dropped: boolean;
  lasted_ms: number;
}
interface Measured {
  code: number;
  document: { idle: Silence; answering: Silence; target_drop_ms?: number; plan?: string };
  keptWhenTold: Record<string, number>;
  stderr: string;
}
interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

let found: {
  nbdServer: Measured;
  qemuNbd: Measured;
  overTls: Measured;
  here: Ended;
  unprivileged: Ended;
  bystanderLives: boolean;
  interrupted: string;
};

before(async () => {
  const script = join(import.meta.dirname, "silent-client.ts");
  const within = ["--net", ...asRoot, join(root, ".ci/node"), script];
  const { stdout } = await promisify(execFile)("unshare", within);
  found = JSON.parse(stdout);
});

// Keepalive takes 2 s and two probes, 1 s apart; an answer is given up after 6 s at the earliest.
test("nbd-server lets go of both connections, and the plan's line follows with its margin", () => {
  const { code, document, stderr } = found.nbdServer;
  assert.equal(code, 0, stderr);
  const { idle, answering, target_drop_ms: statedMs, plan } = document;
  for (const silence of [idle, answering]) {
    assert.equal(silence.dropped, true, stderr);
    assert.ok(silence.lasted_ms > 3000, `${silence.lasted_ms} ms`);
  }
  assert.ok(statedMs! >= (idle.lasted_ms * 9) / 8 && statedMs! >= 2 * answering.lasted_ms);
  assert.equal(plan, `target-drop-time: ${statedMs! / 1000}s`);
});

test("a connection is not told of as dropped while the server's kernel has it", () => {
  assert.deepEqual(found.nbdServer.keptWhenTold, { idle: 1, "with an answer under way": 0 });
  assert.equal(found.qemuNbd.keptWhenTold["with an answer under way"], 1);
});

test("qemu-nbd, which asks for no keepalive, keeps an idle connection: the limit is told, and no line", () => {
  const { code, document, stderr } = found.qemuNbd;
  assert.equal(code, 5, stderr);
  assert.deepEqual([document.idle.dropped, document.answering.dropped], [false, true]);
  assert.ok(document.idle.lasted_ms >= 20_000);
  assert.deepEqual([document.target_drop_ms, document.plan], [undefined, undefined]);
});

test("over TLS an answer that is not acknowledged is given up just so", () => {
  const { document, keptWhenTold, stderr } = found.overTls;
  assert.equal(document.answering.dropped, true, stderr);
  assert.equal(keptWhenTold["with an answer under way"], 1);
});

test("another connection to the same server, as silent and alive, is not touched", () => {
  assert.equal(found.bystanderLives, true);
});

test("a signal in the middle ends it, and nothing is left at the server", () => {
  assert.equal(found.interrupted, "SIGINT");
});

test("this machine itself is refused: behind a tunnel it is not what lets go", () => {
  const { code, stderr } = found.here;
  assert.equal(code, 2);
  assert.match(stderr, /127\.0\.0\.1:10809\/a is at this machine itself[\s\S]*tunnel/);
});

test("without the right to filter it says what is missing and what to type", () => {
  const { code, stdout, stderr } = found.unprivileged;
  // Not every kernel wants it.
  if (code === 0) assert.match(stdout, /target-drop-time: \d+s/);
  else {
    assert.equal(code, 2, stderr);
    assert.match(stderr, /CAP_NET_ADMIN/);
    assert.match(stderr, /sudo migratekit fleet check-target 'nbd:\/\/192\.0\.2\.1:10809\/a'/);
  }
});
