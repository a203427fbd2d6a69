import type { Logger } from "pino";
import type { TargetTls } from "../../nbd/target/tls.ts";

export interface OverlayOptions {
  readonly logger: Logger;
  readonly signal?: AbortSignal;
  /** For targets of scheme nbds: what `prepareTargetTls` made. */
  readonly tls?: TargetTls["endpointFields"];
}
