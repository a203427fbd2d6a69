/** Who copies, and how each is called. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import type { EngineJob, EngineReport } from "./engine-child.ts";
import type { ContenderName, ContenderResult, Sample } from "./results.ts";
import { runTimed, type Tools } from "./tools.ts";

const execute = promisify(execFile);
const child = join(import.meta.dirname, "engine-child.ts");
export const serialChunkBytes = 32 * 1024 * 1024;

export interface Contender {
  name: ContenderName;
  settings: string;
  /** Part of the work that a run does; its times are divided by it. Its result is not compared. */
  share?: number;
  /** The target has been reset, and is compared afterwards. */
  run(): Promise<RunOutcome>;
}

export interface RunOutcome {
  sample: Sample;
  engine?: ContenderResult["engine"];
}

/** Our engine as the product drives it. */
export async function runEngine(job: EngineJob): Promise<EngineReport> {
  const args = ["--disable-warning=ExperimentalWarning", child, JSON.stringify(job)];
  const { stdout } = await execute(process.execPath, args);
  return JSON.parse(stdout) as EngineReport;
}

export interface EngineSettings {
  sourceConnections?: number;
  targetConnections?: number;
  requestBytes?: number;
}

export function engineSettingsText(settings: EngineSettings): string {
  const { sourceConnections, targetConnections, requestBytes } = settings;
  if (sourceConnections === undefined) return "auto";
  return `${sourceConnections} and ${targetConnections} connections, ${megabytes(requestBytes)}`;
}

export function engineContender(
  name: ContenderName,
  job: EngineJob,
  settings: EngineSettings = {},
): Contender {
  const { sourceConnections, targetConnections, requestBytes } = settings;
  return {
    name,
    settings: engineSettingsText(settings),
    run: async () => {
      const { result, ...sample } = await runEngine({
        ...job,
        source: { ...job.source, connections: sourceConnections ?? job.source.connections },
        target: { ...job.target, connections: targetConnections },
        requestBytes,
      });
      const { sourceConnections: from, targetConnections: to, writtenBytes } = result;
      return { sample, engine: { sourceConnections: from, targetConnections: to, writtenBytes } };
    },
  };
}

/** The engine of --before, if it was given. */
export function engineBefore(
  { before }: { before?: string | undefined },
  job: EngineJob,
): Contender[] {
  if (before === undefined) return [];
  return [engineContender("migratekit-before", { ...job, checkout: before })];
}

export interface NbdcopySettings {
  connections: number;
  threads: number;
  requests: number;
  requestBytes: number;
  queueBytes: number;
}

export const nbdcopyDefaults: NbdcopySettings = {
  connections: 4,
  threads: 0,
  requests: 64,
  requestBytes: 256 * 1024,
  queueBytes: 16 * 1024 * 1024,
};

export function nbdcopyArguments(settings: NbdcopySettings): string[] {
  const { connections, threads, requests, requestBytes, queueBytes } = settings;
  return [
    ...[`--connections=${connections}`, `--threads=${threads}`, `--requests=${requests}`],
    ...[`--request-size=${requestBytes}`, `--queue-size=${queueBytes}`],
  ];
}

/** Flushes at the end, as all the others do; undefined: its own defaults. */
export function nbdcopyContender(
  tools: Tools,
  source: string,
  target: string,
  settings?: NbdcopySettings,
): Contender {
  const options = settings ? nbdcopyArguments(settings) : [];
  return {
    name: settings ? "nbdcopy" : "nbdcopy-default",
    settings: settings ? nbdcopyText(settings) : "its defaults",
    run: async () => ({
      sample: await runTimed(tools, ["nbdcopy", "--flush", ...options, source, target]),
    }),
  };
}

export function nbdcopyText(settings: NbdcopySettings): string {
  const { connections, threads, requests, requestBytes, queueBytes } = settings;
  return `-C ${connections} -T ${threads} -R ${requests}, ${megabytes(requestBytes)}, queue ${megabytes(queueBytes)}`;
}

export function qemuImgContender(
  tools: Tools,
  source: string,
  target: string,
  coroutines: number,
): Contender {
  const raw = ["-f", "raw", "-O", "raw"];
  return {
    name: "qemu-img",
    settings: `-W -m ${coroutines}`,
    run: async () => ({
      sample: await runTimed(tools, [
        ...["qemu-img", "convert", "-n", "-W", "-m", String(coroutines), ...raw],
        ...[source, target],
      ]),
    }),
  };
}

/** To a server that takes nothing but TLS. */
export function qemuImgTlsContender(
  tools: Tools,
  source: string,
  server: { port: number; exportName: string },
  certificatesDir: string,
): Contender {
  const coroutines = 8;
  const target = `driver=nbd,host=localhost,port=${server.port},export=${server.exportName}`;
  return {
    name: "qemu-img",
    settings: `-W -m ${coroutines}`,
    run: async () => ({
      sample: await runTimed(tools, [
        ...["qemu-img", "convert", "-n", "-W", "-m", String(coroutines), "-f", "raw"],
        ...["--object", `tls-creds-x509,id=tls,endpoint=client,dir=${certificatesDir}`],
        ...["--target-image-opts", source, `${target},tls-creds=tls`],
      ]),
    }),
  };
}

export function serialContender(
  tools: Tools,
  source: string,
  target: string,
  work: { rangesPath: string; share?: number },
): Contender {
  const { rangesPath, share = 1 } = work;
  return {
    name: "serial",
    settings: share === 1 ? "32 MiB chunks" : `32 MiB chunks, 1/${Math.round(1 / share)} of it`,
    share,
    run: async () => ({
      sample: await runTimed(tools, [
        ...[tools.serial, source, target, rangesPath, String(serialChunkBytes)],
      ]),
    }),
  };
}

export function megabytes(bytes: number | undefined): string {
  if (bytes === undefined) return "default size";
  return bytes >= 2 ** 20 ? `${bytes / 2 ** 20} MiB` : `${bytes / 1024} KiB`;
}
