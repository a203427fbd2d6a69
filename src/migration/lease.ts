import type { Engine } from "../nbd/copy-engine/copy-engine.ts";

/** Connections to an ESXi host, and what else a run takes a part of, as whoever counts them names them. */
export interface LeasePlaces {
  /** `ENDPOINT MOREF` of the ESXi host. */
  readonly host: string;
  /** Connections to it. */
  readonly units: number;
  /** `ENDPOINT NAME` of each datastore that is read from. */
  readonly datastores: readonly string[];
  /** `HOST:PORT` of each target server. */
  readonly targetServers: readonly string[];
}

/** The way to a disk at its ESXi host. */
export interface HostSource {
  /** Its connections to the host are closed until `resume`. Nothing where there are none. Never rejects. */
  pause(): Promise<void>;
  /** Whoever reads from it finds it again. Nothing where it is not paused. Never rejects. */
  resume(): Promise<void>;
}

/**
 * The right to work on the VM, held for a time and renewed while the run goes on, where other machines might
 * take the VM up (fleet/worker).
 */
export interface RunLease {
  /** Aborted when it is lost. From then on neither target nor snapshot is touched, not to clean up either. */
  readonly signal: AbortSignal;
  /** Whoever had the VM before was not heard of any more. On this machine it may stand still, with its locks. */
  readonly takenOver: boolean;
  /**
   * When this resolves the VM is still ours, and whoever takes it up after us knows what the state knows now.
   * `before` says what is done next. @throws MigratekitError `fleet-lease-lost`
   */
  barrier(before: string): Promise<void>;
  /** Resolves while the VM is known to be ours, at once as a rule. @throws MigratekitError `fleet-lease-lost` */
  holds(): Promise<void>;
  /** Before the first connection to the host. @throws MigratekitError `fleet-host-full`, `fleet-lease-lost` */
  place(places: LeasePlaces): Promise<void>;
  /** The engine's copies write only as long as the lease is known to hold. */
  guard(engine: Engine): void;
  /** Open only as long as the lease is known to hold, until what this gives is disposed of. */
  guardSource(source: HostSource): Disposable;
}
