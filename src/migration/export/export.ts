/** On the appliance: a real NBD server kept in step with the volumes that are attached to it. */
import { mkdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import { type Config, plainEnvironment } from "../../config.ts";
import { MigratekitError, messageOf } from "../../errors.ts";
import { listenAt, listenerAt, socketPathBytesMax } from "../../living-mark.ts";
import { NbdServer } from "../../nbd/server/server.ts";
import { isLoopback } from "../../nbd/target/uri.ts";
import { pause } from "../../retry.ts";
import { hostAndPort } from "../../text.ts";
import { type UndoStack, withUndo } from "../../undo.ts";
import { openCloudStack } from "../cloud.ts";
import { devicesBySerial } from "./devices.ts";
import { WantedVolumes } from "./wanted.ts";

export interface ExportContext {
  readonly config: Config;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** How soon a disk that came or went is seen: within a detach, which takes seconds. */
const lookEveryMs = 250;
/** Before a disk that could not be exported is tried again. */
const tryAgainMs = 10_000;

/**
 * Goes on until the signal; `onReady` is told once it listens and what is attached is exported.
 * @throws MigratekitError `usage`, `locked`, `export-failed`, `export-tool-missing`; the signal's reason
 */
export async function runExport(context: ExportContext, onReady: () => void): Promise<never> {
  const { config, logger, signal } = context;
  checkExportFlags(config);
  const { host, port } = config.listen;
  return await withUndo(logger, async (undo) => {
    const folder = await holdFolder(config, undo);
    const server = undo.use(
      "stop the NBD server",
      await NbdServer.start({
        ...{ host, port, tlsDir: config.listenTlsCertificates, env: plainEnvironment() },
        ...{ socketPath: join(folder, "qmp"), logger, signal },
      }),
    );
    logger.info(`exporting at ${hostAndPort(host, port)}`);
    const ended = server.ended().then((how) => {
      throw new MigratekitError("export-failed", `the NBD server ended: ${how}`);
    });
    return await Promise.race([ended, keepInStep(context, server, onReady)]);
  });
}

/** @throws MigratekitError `usage` */
function checkExportFlags(config: Config): void {
  const { listen, listenTlsCertificates: tls } = config;
  if (tls !== undefined || isLoopback(listen.host)) return;
  throw new MigratekitError(
    "usage",
    `--listen ${hostAndPort(listen.host, listen.port)} would let everybody there read and write the volumes`,
    {
      remedy:
        "Give --listen-tls-certificates, or listen at 127.0.0.1 and lead a tunnel there (docs/tunnel.md).",
    },
  );
}

/** One process for one state directory. @throws MigratekitError `locked`, `usage` */
async function holdFolder({ stateDir }: Config, undo: UndoStack): Promise<string> {
  const folder = join(stateDir, "export");
  const mark = join(folder, "mark");
  if (Buffer.byteLength(mark) > socketPathBytesMax) {
    throw new MigratekitError("usage", `--state-dir ${stateDir} is too long a path for a socket`);
  }
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    if ((await listenerAt(mark)) === "some") {
      throw new MigratekitError("locked", `another 'migratekit export' works in ${folder}`, {
        remedy: "Let it work, or stop it; a second one needs a --state-dir of its own.",
      });
    }
    await rm(mark, { force: true });
    const server = await listenAt(mark);
    undo.defer("remove the mark of this process", () => void server.close());
  } catch (error) {
    if (error instanceof MigratekitError) throw error;
    throw new MigratekitError("state-unusable", `cannot use ${folder}: ${messageOf(error)}`, {
      cause: error,
    });
  }
  return folder;
}

async function keepInStep(
  context: ExportContext,
  server: NbdServer,
  onReady: () => void,
): Promise<never> {
  const { config, logger, signal } = context;
  const cloud = config.exportVolumes === undefined ? openCloudStack(context) : undefined;
  const wanted = new WantedVolumes(config, cloud, logger);
  const exported = new Map<string, { readonly serial: string; readonly device: string }>();
  const retryAtMs = new Map<string, number>();
  for (let ready = false; ; ) {
    const devices = await devicesBySerial(config.deviceDir);
    // First of all, as a detach waits for it.
    for (const [id, { serial, device }] of exported) {
      if (devices.get(serial) === device) continue;
      await server.remove(id);
      exported.delete(id);
      logger.info({ volume: id }, `${id} is gone, and its export with it`);
    }
    const { found, settled } = wanted.among(devices.keys());
    for (const [serial, id] of found) {
      if (exported.has(id) || performance.now() < (retryAtMs.get(id) ?? 0)) continue;
      const device = devices.get(serial)!;
      try {
        await server.add(id, device);
        exported.set(id, { serial, device });
        logger.info({ volume: id, device }, `exporting ${id} (${device})`);
      } catch (error) {
        logger.error({ volume: id, device }, `${messageOf(error)}; trying again in a while`);
        retryAtMs.set(id, performance.now() + tryAgainMs);
      }
    }
    if (!ready && settled) {
      ready = true;
      onReady();
    }
    await pause(lookEveryMs, signal);
  }
}
