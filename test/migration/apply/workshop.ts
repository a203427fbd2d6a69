/** Overlays made by hand over real targets, and what applying them needs: in this process or in a child's. */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { pino } from "pino";
import { makeWorkFolder } from "../../../src/guest/guest.ts";
import type { ApplyContext } from "../../../src/migration/apply/context.ts";
import type { DiskToConvert } from "../../../src/migration/apply/keep.ts";
import { openEngine } from "../../../src/migration/engine.ts";
import { probeExport } from "../../../src/nbd/copy-engine/copy-engine.ts";
import { targetNames } from "../../../src/nbd/target/names.ts";
import { targetIdentity } from "../../../src/nbd/target/uri.ts";
import { TargetLocks } from "../../../src/state/lock/target-lock.ts";
import { State } from "../../../src/state/state.ts";
import type { VmIdentity } from "../../../src/state/vm-identity.ts";
import type { Random } from "../../random.ts";

const run = promisify(execFile);

export const vm: VmIdentity = {
  endpoint: "vcenter.example:443",
  instanceUuid: "5029d1a4-6cf3-41c2-9a2e-0d1f6a2b7c11",
  vmPath: "/DC/vm/web 1",
};

/** A disk of the workshop as a child process is told of it. */
export interface WorkshopDisk {
  readonly key: number;
  readonly uri: string;
  readonly overlay: string;
}

/** What a test holds: state, engine, work folder, locks. Disposing gives all back. */
export async function openWorkshop(
  folder: string,
  options: { dropTimeMs?: number; stateDir?: string; identity?: VmIdentity } = {},
) {
  await using stack = new AsyncDisposableStack();
  const logged: string[] = [];
  const write = (line: string) => void logged.push((JSON.parse(line) as { msg: string }).msg);
  const logger = pino({ level: "info" }, { write });
  const state = stack.use(State.open(options.stateDir ?? join(folder, "state")));
  const config = {
    full: false,
    targetDropTime: options.dropTimeMs ?? 200,
    targetConnections: undefined,
    maxRate: undefined,
    memory: 64 << 20,
    stallTimeout: 5_000,
    flushTimeout: 5_000,
  };
  const context: ApplyContext = {
    config,
    identity: options.identity ?? vm,
    state,
    targetLocks: stack.use(new TargetLocks(vm.vmPath)),
    engine: stack.use(openEngine(config)),
    work: stack.use(await makeWorkFolder({ logger, parent: folder })),
    logger,
    signal: new AbortController().signal,
  };
  const owned = stack.move();
  return {
    context,
    config,
    state,
    logged,
    keepOld: join(folder, "kept"),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

export async function toConvert({ key, uri, overlay }: WorkshopDisk): Promise<DiskToConvert> {
  const { sizeBytes } = await probeExport({ uri });
  const { lasting } = await targetNames(uri);
  return {
    deviceKey: key,
    diskId: `disk-${key}`,
    endpoint: { uri },
    identity: targetIdentity(uri),
    names: lasting,
    sizeBytes,
    overlay,
  };
}

export async function makeOverlay(overlay: string, uri: string): Promise<void> {
  const { hostname, port, pathname } = new URL(uri);
  const server = { type: "inet", host: hostname, port };
  const file = { driver: "nbd", server, export: decodeURIComponent(pathname.slice(1)) };
  const backing = `json:${JSON.stringify({ driver: "raw", file })}`;
  await run("qemu-img", ["create", "-q", "-f", "qcow2", "-F", "raw", "-b", backing, overlay]);
}

/** Some data and some zeroes at random; single sectors too. */
export async function writeAtRandom(overlay: string, random: Random, sizeBytes: number) {
  const commands: string[] = [];
  for (let i = 0; i < 12; i++) {
    const offset = random.below(sizeBytes / 512 - 1) * 512;
    const most = Math.min(sizeBytes - offset, random.chance(0.3) ? 512 : 384 * 1024);
    const length = Math.max(512, Math.ceil((random.next() * most) / 512) * 512);
    const what = random.chance(0.3) ? "-z" : `-P ${1 + random.below(255)}`;
    commands.push("-c", `write ${what} ${offset} ${length}`);
  }
  await run("qemu-io", ["-f", "qcow2", ...commands, overlay]);
}

/** What the target would be with the overlay in it. */
export async function flatten(overlay: string): Promise<Buffer> {
  const flat = `${overlay}.flat`;
  await run("qemu-img", ["convert", "-f", "qcow2", "-O", "raw", overlay, flat]);
  return await readFile(flat);
}
