// `migratekit export` beside the laboratory's CloudStack: what runs on the appliance.

import type { CloudStackLab } from "./cloudstack/cloudstack.ts";
import { findFreePort } from "./ports.ts";
import { type CliResult, startCli } from "./run-cli.ts";

export interface Exporter extends AsyncDisposable {
  readonly port: number;
  readonly pid: number;
  readonly result: Promise<CliResult>;
  /** Everything that it has written to stderr. */
  readonly lines: readonly string[];
  uriOf(volumeId: string): string;
  kill(signal: NodeJS.Signals): Promise<CliResult>;
}

export interface ExporterOptions {
  readonly stateDir: string;
  readonly port?: number;
  readonly args?: readonly string[];
}

/** Settings with which any command reaches this CloudStack as its ordinary user. */
export function cloudStackArgs(cloud: CloudStackLab): string[] {
  const { apiKey, secretKey } = cloud.account();
  return [
    ...["--cloudstack-endpoint", cloud.url, "--cloudstack-api-key", apiKey],
    ...["--cloudstack-secret-key", secretKey, "--cloudstack-appliance", cloud.appliance.id],
  ];
}

/** Resolves when it listens and exports what is attached. @throws Error with its words where it ends instead */
export async function startExporter(
  cloud: CloudStackLab,
  { stateDir, args = cloudStackArgs(cloud), ...options }: ExporterOptions,
): Promise<Exporter> {
  const port = options.port ?? (await findFreePort());
  const lines: string[] = [];
  const { child, result } = startCli({
    args: [
      ...["export", "--json", "--listen", `127.0.0.1:${port}`, "--device-dir", cloud.deviceFolder],
      ...["--state-dir", stateDir, ...args],
    ],
    onStderrLine: (line) => void lines.push(line),
  });
  const ready = new Promise<void>((resolve) => {
    child.stdout!.on("data", (text: Buffer) => text.includes('"ready"') && resolve());
  });
  const early = result.then(({ code, stderr }) => {
    throw new Error(`export ended with ${code}: ${stderr}`);
  });
  early.catch(() => {});
  await Promise.race([ready, early]);
  const kill = async (signal: NodeJS.Signals) => {
    child.kill(signal);
    return await result;
  };
  return {
    ...{ port, pid: child.pid!, result, lines, kill },
    uriOf: (volumeId) => `nbd://127.0.0.1:${port}/${volumeId}`,
    [Symbol.asyncDispose]: async () => void (await kill("SIGTERM")),
  };
}
