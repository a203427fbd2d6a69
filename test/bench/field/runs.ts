/** One client between one source and one target of the field, both started for it alone. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type EngineSettings,
  engineSettingsText,
  type NbdcopySettings,
  nbdcopyArguments,
  nbdcopyText,
} from "../contenders.ts";
import type { ContenderName } from "../results.ts";
import type { Workbench } from "../workbench.ts";
import type { FieldCell } from "./cells.ts";
import type { FieldJob } from "./child.ts";
import { type Entry, startFieldServer, startLine, type Verdict } from "./servers.ts";

const child = join(import.meta.dirname, "child.ts");
const teraByte = 1024 ** 4;

export interface FieldClient {
  name: ContenderName;
  settings: string;
  /** How often the client waits for source connections to be opened before all are there. */
  opensInTurn: number;
  command(source: string, target: string, sizeBytes: number): string[];
}

export interface Ran {
  startedMs: number;
  endedMs: number;
  source: Entry[];
  target: Entry[];
  verdict: Verdict;
  output: string;
}

/** Our engine, of this checkout or of another one. */
export function engineClient(
  name: ContenderName,
  more: { settings?: EngineSettings } & Partial<FieldJob> = {},
): FieldClient {
  const { settings = {}, ...rest } = more;
  return {
    name,
    settings: engineSettingsText(settings),
    opensInTurn: 2, // those of the first plan, then further ones
    command: (sourceUri, targetUri, capacityBytes) => {
      const job: FieldJob = {
        ...{ sourceUri, targetUri, capacityBytes, copies: 1, atOnce: 1 },
        ...settings,
        ...rest,
      };
      const flags = ["--disable-warning=ExperimentalWarning"];
      return [process.execPath, ...flags, child, JSON.stringify(job)];
    },
  };
}

export function nbdcopyClient(settings: NbdcopySettings): FieldClient {
  return {
    name: "nbdcopy",
    settings: nbdcopyText(settings),
    opensInTurn: settings.connections,
    command: (source, target) => [
      "nbdcopy",
      "--flush",
      ...nbdcopyArguments(settings),
      source,
      target,
    ],
  };
}

let sockets = 0;

/**
 * Until the client ends; with `forMs`, until then at the latest.
 * @throws Error when the client fails, or a block arrived that is not the source's
 */
export async function runBetween(
  bench: Pick<Workbench, "tools" | "folder">,
  cell: Pick<FieldCell, "source" | "target" | "line">,
  client: FieldClient,
  how: { forMs?: number; sizeBytes?: number; targetBytes?: number } = {},
): Promise<Ran> {
  const { forMs, sizeBytes = teraByte, targetBytes = sizeBytes } = how;
  const { tools, folder } = bench;
  const socket = join(folder, `field-${sockets++}.sock`);
  await using source = await startFieldServer(tools, cell.source, { socket, sizeBytes });
  const place = { sizeBytes: targetBytes, capacityBytes: sizeBytes, target: true };
  await using target = await startFieldServer(tools, cell.target, place);
  await using line = cell.line && (await startLine(tools, cell.line, target.uri));
  const startedMs = now();
  const [program = "", ...args] = client.command(source.uri, line?.uri ?? target.uri, sizeBytes);
  const copier = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  let [output, errors] = ["", ""];
  copier.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  copier.stderr.setEncoding("utf8").on("data", (text: string) => {
    errors += text;
  });
  const closed = once(copier, "close") as Promise<[number | null]>;
  const stop = new AbortController();
  const cut = forMs === undefined ? undefined : sleep(forMs, true, { signal: stop.signal });
  const code = await Promise.race([
    closed.then(([exitCode]) => exitCode),
    ...(cut ? [cut.then(() => undefined)] : []),
  ]);
  stop.abort();
  cut?.catch(() => {});
  const endedMs = now();
  if (code === undefined) {
    copier.kill("SIGKILL");
    await closed;
  } else if (code !== 0) {
    throw new Error(`${client.name} (${client.settings}) ended with ${code}: ${errors.trim()}`);
  }
  const verdict = await target.end();
  if (verdict.wrong > 0) throw new Error(`${client.name} wrote ${verdict.wrong} wrong blocks`);
  if (code === 0 && verdict.missing > 0)
    throw new Error(`${client.name} left ${verdict.missing} blocks unwritten`);
  const entries = { source: source.entries, target: target.entries };
  return { startedMs, endedMs, ...entries, verdict, output };
}

/** The clock of the servers' books. */
function now(): number {
  return Number(process.hrtime.bigint() / 1_000_000n);
}
