import assert from "node:assert/strict";
import { type ChildProcessByStdio, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import type { TestContext } from "node:test";
import { type ErrorCode, MigratekitError } from "../../src/errors.ts";
import type { VmIdentity } from "../../src/state/vm-identity.ts";

export const vm: VmIdentity = {
  endpoint: "vcenter.example:443",
  instanceUuid: "5029d1a4-6cf3-41c2-9a2e-0d1f6a2b7c11",
  vmPath: "/DC/vm/web 1",
};

/** A private directory that is gone after the test. */
export function temporaryDirectory(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "migratekit-state-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** A well-formed change ID; the same `history` means the same UUID. */
export function changeId(sequence: number, history = "52"): string {
  const group = `${history} de c0 d9 b6 43 9f 10`;
  return `${group}-61 d5 4a 3c 08 e7 21 be/${sequence}`;
}

/** Asserts that `action` throws a MigratekitError with this code, on one line, and returns it. */
export function refusal(action: () => unknown, code: ErrorCode = "state-unusable") {
  try {
    action();
  } catch (error) {
    return checkError(error, code);
  }
  assert.fail("it was accepted");
}

export async function rejection(action: Promise<unknown>, code: ErrorCode) {
  try {
    await action;
  } catch (error) {
    return checkError(error, code);
  }
  assert.fail("it was accepted");
}

function checkError(error: unknown, code: ErrorCode): MigratekitError {
  if (!(error instanceof MigratekitError)) throw error;
  assert.equal(error.code, code, error.message);
  assert.doesNotMatch(`${error.message}${error.remedy}`, /\n/);
  return error;
}

/** A mount of our own, seen and kept by this one command only; as root or in a user namespace. */
export function mountingShell(): string[] {
  const ways = [
    ["unshare", "--mount"],
    ["unshare", "--user", "--map-root-user", "--mount"],
  ];
  for (const way of ways) {
    const [program = "", ...args] = way;
    const probe = [...args, "mount", "-t", "tmpfs", "none", "/mnt"];
    if (spawnSync(program, probe).status === 0) return [...way, "sh", "-ec"];
  }
  throw new Error("No tmpfs can be mounted here: run as root, or allow user namespaces");
}

export interface Fixture {
  readonly process: ChildProcessByStdio<Writable, Readable, null>;
  /** The next line it prints; undefined when it has ended. */
  line(): Promise<string | undefined>;
  /** Waits for its end; the exit code or the signal's name. */
  ended(): Promise<number | string | null>;
}

export function fixturePath(name: string): string {
  return join(import.meta.dirname, "fixtures", name);
}

/** Node and the arguments that run a fixture, e.g. for a shell to exec. */
export function fixtureCommand(name: string, ...args: string[]): string[] {
  return [process.execPath, "--disable-warning=ExperimentalWarning", fixturePath(name), ...args];
}

export function startFixture(t: TestContext, name: string, ...args: string[]): Fixture {
  return startCommand(t, fixtureCommand(name, ...args));
}

/** A child process that is dead when the test ends, whatever happens. */
export function startCommand(t: TestContext, command: readonly string[]): Fixture {
  const [program, ...args] = command;
  assert.ok(program);
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
  child.stdin.on("error", () => {}); // it may be dead already
  const exited = once(child, "exit");
  t.after(async () => {
    child.kill("SIGKILL");
    await exited;
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    process: child,
    line: async () => {
      const next = await lines.next();
      return next.done === true ? undefined : next.value;
    },
    ended: async () => {
      const [code, signal] = await exited;
      return signal ?? code;
    },
  };
}

// What fixtures/writer.ts writes, and the tests expect to find.
export const blockBytes = 65536;
export const checkpoints = 70;
export const capacityBytes = blockBytes * checkpoints;
