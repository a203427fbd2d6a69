/** The two ends of a copy: nbdkit as VDDK behaves, and the real targets, emptied before each run. */
import { rm, truncate } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { NbdServer } from "../lab/nbd-server.ts";
import {
  createVolume,
  startNbdkit,
  startNbdServer,
  startQemuNbd,
  startStunnelPair,
} from "../lab/targets.ts";
import type { TargetKind } from "./results.ts";
import { runPlain } from "./tools.ts";

const startTimeoutMs = 10_000;
export const exportName = "disk";

export interface SourceSpec {
  /** What nbdkit serves: ["file", path], ["pattern", "size=…"]. */
  plugin: string[];
  latencyMs: number;
  /** one: as VDDK, no multi-conn and a second connection is refused. */
  connections: "one" | "several";
  /** Bytes a second of each connection; 0: no limit. */
  connectionRate: number;
}

let sources = 0;

export async function startSource(spec: SourceSpec, folder: string): Promise<NbdServer> {
  const socket = join(folder, `source-${sources++}.sock`);
  const filters: string[] = [];
  const settings: string[] = [];
  const add = (filter: string, ...values: string[]) => {
    filters.push(`--filter=${filter}`);
    settings.push(...values);
  };
  if (spec.connections === "one") {
    add("limit", "limit=1");
    add("multi-conn", "multi-conn-mode=disable");
  }
  if (spec.connectionRate > 0) add("rate", `connection-rate=${8 * spec.connectionRate}`);
  if (spec.latencyMs > 0) add("delay", `rdelay=${spec.latencyMs}ms`);
  return await startNbdkit([...filters, ...spec.plugin, ...settings], { socket });
}

export interface Target extends AsyncDisposable {
  kind: TargetKind;
  uri: string;
  path: string;
  /** To the content of a file, or to an empty volume of this size. */
  reset(content: { before: string } | { sizeBytes: number }): Promise<void>;
}

/** A target over a volume file of its own in the folder; before the first reset() it has no size. */
export async function startTarget(
  kind: TargetKind,
  folder: string,
  sizeBytes: number,
): Promise<Target> {
  const path = join(folder, "volume");
  await createVolume(path, sizeBytes);
  await using undo = new AsyncDisposableStack();
  let server: NbdServer;
  if (kind === "qemu-nbd") {
    server = undo.use(await startQemuNbd({ file: path, exportName }));
  } else {
    server = undo.use(
      await startNbdServer({ exports: [{ name: exportName, file: path }], folder }),
    );
    if (kind === "stunnel") {
      const pair = undo.use(await startStunnelPair({ targetPort: server.port, folder }));
      server = pair.client;
    }
  }
  const running = undo.move();
  return targetOver(kind, path, server.uriOf(exportName), server, running);
}

/** qemu-nbd remembers what was allocated, which a reset behind its back makes wrong: it is started anew with each. */
export function targetOver(
  kind: TargetKind,
  path: string,
  uri: string,
  server?: NbdServer,
  running?: AsyncDisposable,
): Target {
  return {
    kind,
    path,
    uri,
    reset: async (content) => {
      if ("before" in content) {
        await runPlain("cp", ["--sparse=always", content.before, path]);
      } else {
        await truncate(path, 0);
        await truncate(path, content.sizeBytes);
      }
      if (server && kind === "qemu-nbd") await restartPatiently(server);
    },
    [Symbol.asyncDispose]: async () => {
      await running?.[Symbol.asyncDispose]();
      await rm(path, { force: true });
    },
  };
}

/** The port may be taken until the last connection to it is quite gone. */
async function restartPatiently(server: NbdServer): Promise<void> {
  const deadline = Date.now() + startTimeoutMs;
  for (;;) {
    try {
      return await server.restart();
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await sleep(100);
    }
  }
}

/** @throws Error when the target is not what it must be; qemu-img compares, not the engine */
export async function checkEqual(target: string, expected: string, who: string): Promise<void> {
  try {
    await runPlain("qemu-img", ["compare", "-f", "raw", "-F", "raw", expected, target]);
  } catch (error) {
    const { stdout = "" } = error as { stdout?: string };
    throw new Error(`${who} left a target that differs from the source: ${stdout.trim()}`, {
      cause: error,
    });
  }
}
