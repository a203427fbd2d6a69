/** What a command holds of its VM, and what it is given to work with. */
import type { Logger } from "pino";
import type { Config } from "../../config.ts";
import type { Engine } from "../../nbd/copy-engine/copy-engine.ts";
import type { ProgressTracker, Stage } from "../../progress/progress.ts";
import type { VmLock } from "../../state/lock/lock.ts";
import type { TargetLocks } from "../../state/lock/target-lock.ts";
import type { State } from "../../state/state.ts";
import type { VmIdentity } from "../../state/vm-identity.ts";
import type { Account } from "../account/account.ts";
import type { RunLease } from "../lease.ts";
import type { HostConnections } from "./host-connections.ts";
import type { Site } from "./site.ts";

/** What a run tells about itself while it goes on. Nothing here may throw or wait. */
export interface Reporter {
  /** Enters a stage, or changes the detail of the present one. */
  stage(stage: Stage, detail?: string): void;
  readonly tracker: ProgressTracker;
  /** What is known of the command's runs so far. */
  readonly account: Account;
}

/** What the runs of several VMs in one process share. */
export interface SharedResources {
  /** One pool of memory and one rate limit for all of them. */
  readonly engine: Engine;
  readonly hosts: HostConnections;
  /** Identity of every target that a VM of this process writes to -> the VM's path. */
  readonly targets: Map<string, string>;
}

export interface CycleContext {
  readonly config: Config;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  readonly reporter: Reporter;
  /** Set where other VMs are migrated by this process at the same time. */
  readonly shared?: SharedResources;
  /** Absent: nobody else works on the VM but by this machine's locks. */
  readonly lease?: RunLease;
}

/** The VM that work is about, and the settings it is done with: what many steps want and no more. */
export type SiteContext = Pick<HeldVm, "config" | "site" | "logger" | "signal">;

/** What a command holds once it has found and locked its VM, for one run or several. */
export interface HeldVm extends CycleContext {
  readonly site: Site;
  readonly identity: VmIdentity;
  readonly state: State;
  readonly lock: VmLock;
  /** Of this host: what the runs of the VM may write to, from their first look at it to the end. */
  readonly targetLocks: TargetLocks;
}
