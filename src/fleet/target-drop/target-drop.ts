/** How soon a target's server lets go of a client that fell silent: measured, and made a line of the plan. */
import { lookup } from "node:dns/promises";
import type { Logger } from "pino";
import type { Config } from "../../config.ts";
import { MigratekitError, messageOf } from "../../errors.ts";
import { tlsOptionsOf } from "../../migration/target-tls.ts";
import { keepSilent, NbdError, type Silence } from "../../nbd/copy-engine/copy-engine.ts";
import { isRefusal } from "../../nbd/target/look.ts";
import { prepareTargetTls } from "../../nbd/target/tls.ts";
import { displayUri, formatNbdUri, isLoopback, parseNbdUri } from "../../nbd/target/uri.ts";
import { formatDuration } from "../../text.ts";

export interface TargetDrop {
  /** Without a user. */
  readonly target: string;
  readonly limitMs: number;
  /** All was said and acknowledged: keepalive looks after it, if the server asked for that. */
  readonly idle: Silence;
  /** With an answer under way that nobody acknowledges. */
  readonly answering: Silence;
  /** For the plan, with its margin; undefined: one of the two outlasted the limit. */
  readonly statedMs?: number;
}

const tellEveryMs = 30_000;

/**
 * Two connections at once, which cost the target a read. Over in `giveUpAfter` at the latest.
 * @throws MigratekitError `usage`, `target-…`; the signal's reason
 */
export async function measureTargetDrop(
  config: Pick<Config, "giveUpAfter" | "nbdTlsCaFile" | "nbdTlsCertificates" | "nbdTlsPskFile">,
  text: string,
  { logger, signal }: { readonly logger: Logger; readonly signal: AbortSignal },
): Promise<TargetDrop> {
  const uri = await farUri(text);
  const target = displayUri(uri);
  const limitMs = config.giveUpAfter;
  await using tls = await prepareTargetTls(tlsOptionsOf({ config }), [uri]);
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  const measure = async (during: "idle" | "answering") => {
    const endpoint = { uri, ...tls.endpointFields };
    const silence = await keepSilent(endpoint, during, { limitMs, signal: either });
    logger.info(`${during === "idle" ? "idle" : "with an answer under way"}: ${howLong(silence)}`);
    return silence;
  };
  logger.info(
    `two connections to ${target} are to fall silent, until it lets go or for ${formatDuration(limitMs / 1000)}`,
  );
  const startedAt = performance.now();
  const ticker = setInterval(() => {
    const seconds = (performance.now() - startedAt) / 1000;
    logger.info(`silent for ${formatDuration(seconds)}`);
  }, tellEveryMs);
  try {
    const [idle, answering] = await Promise.all([measure("idle"), measure("answering")]);
    const statedMs = statedMsOf(idle, answering);
    return { target, limitMs, idle, answering, ...(statedMs !== undefined && { statedMs }) };
  } catch (error) {
    signal.throwIfAborted();
    throw error instanceof NbdError ? explain(error, target) : error;
  } finally {
    clearInterval(ticker);
    failed.abort();
  }
}

/**
 * What a plan may promise. Long timers of Linux come up to an eighth late. An answer is sent again at intervals
 * that double, and given up at the first of them after the time is over: of a line that is slower on another
 * day, or to another appliance, as long again. Whole seconds; undefined where there is nothing to promise.
 */
export function statedMsOf(idle: Silence, answering: Silence): number | undefined {
  if (!idle.dropped || !answering.dropped) return undefined;
  return Math.ceil(Math.max((idle.lastedMs * 9) / 8, answering.lastedMs * 2) / 1000) * 1000;
}

/** @throws MigratekitError `usage` for what is not on another machine */
async function farUri(text: string): Promise<string> {
  const uri = normal(text);
  const { host } = parseNbdUri(uri);
  if (host === undefined) {
    throw new MigratekitError("usage", `${displayUri(uri)} is a socket of this machine`, here);
  }
  const found = await lookup(host, { all: true }).catch(() => []);
  const addresses = [host, ...found.map(({ address }) => address)];
  if (addresses.some(isLoopback)) {
    throw new MigratekitError("usage", `${displayUri(uri)} is at this machine itself`, here);
  }
  return uri;
}

const here = {
  remedy:
    "Give the address of the target's own machine. Behind a tunnel it is the tunnel's far side that lets go of a dead worker, which cannot be measured from here: see docs/fleet/workers.md.",
};

function normal(text: string): string {
  try {
    return formatNbdUri(parseNbdUri(text));
  } catch (error) {
    if (!(error instanceof MigratekitError)) throw error;
    throw new MigratekitError("usage", `the target: ${error.message}`, { remedy: error.remedy });
  }
}

function explain(error: NbdError, target: string): MigratekitError {
  if (error.errno === "EPERM") {
    return new MigratekitError(
      "usage",
      `this needs root, or the capability CAP_NET_ADMIN: ${messageOf(error)}`,
      {
        cause: error,
        remedy: `Run it as root: sudo migratekit fleet check-target '${target}'`,
      },
    );
  }
  const refused = isRefusal(error) || error.code === "ENGINE_SIZE";
  return new MigratekitError(
    refused ? "target-refused" : "target-unreachable",
    `${target}: ${messageOf(error)}`,
    { cause: error, remedy: "Check the address, the export's name, and that the server is up." },
  );
}

export function howLong({ dropped, lastedMs }: Silence): string {
  const span = lastedMs < 60_000 ? `${(lastedMs / 1000).toFixed(1)} s` : spanText(lastedMs);
  return dropped ? span : `longer than ${span}`;
}

function spanText(ms: number): string {
  return `${formatDuration(ms / 1000)} (${Math.round(ms / 1000)} s)`;
}
