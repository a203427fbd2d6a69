import type { Logger } from "pino";
import type { Config } from "../../config.ts";
import { MigratekitError, messageOf } from "../../errors.ts";
import type { WorkFolder } from "../../guest/guest.ts";
import { type Engine, type NbdEndpoint, NbdError } from "../../nbd/copy-engine/copy-engine.ts";
import type { TargetLocks } from "../../state/lock/target-lock.ts";
import type { State } from "../../state/state.ts";
import type { VmIdentity } from "../../state/vm-identity.ts";
import type { RunLease } from "../lease.ts";

/** Whose targets are written, and with what. The VM's lock is held. */
export interface ApplyContext {
  readonly config: Pick<Config, "targetDropTime" | "targetConnections">;
  readonly identity: VmIdentity;
  readonly state: Pick<State, "conversions" | "lateWrites" | "targets">;
  readonly targetLocks: TargetLocks;
  readonly engine: Engine;
  readonly work: WorkFolder;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  readonly lease?: RunLease;
}

/** A disk's target, as it is written to. */
export interface WrittenDisk {
  readonly deviceKey: number;
  readonly diskId: string;
  readonly endpoint: NbdEndpoint;
  /** One text for one export (nbd/target/uri.ts). */
  readonly identity: string;
  readonly sizeBytes: number;
}

/** An error of the engine about a target as the operator should see it; any other is given back. */
export function targetError(error: unknown, { diskId, identity }: WrittenDisk): unknown {
  if (!(error instanceof NbdError)) return error;
  const { code, errno, offset, length } = error;
  const what = code === "ENGINE_READ" ? "reading from" : "writing to";
  const place = offset === undefined ? "" : ` at offset ${offset} (${length ?? 0} bytes)`;
  return new MigratekitError(
    "target-io",
    `${diskId}: ${what} ${identity} failed${place}: ${messageOf(error)}`,
    {
      cause: error,
      remedy:
        "Check the NBD server and the tunnel; the next command on this VM brings the old bytes back.",
      context: { disk: diskId, errno, offset, length },
    },
  );
}
