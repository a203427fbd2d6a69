import type { Logger } from "pino";
import type { ChangeIdStore } from "./change-ids.ts";
import type { StateDatabase } from "./database.ts";
import type { VmIdentity } from "./vm-identity.ts";

export interface OmaOptions {
  /** CLOUDSTACK_API_URL, e.g. http://localhost:8082. */
  readonly baseUrl: string;
  /** MIGRATEKIT_JOB_ID. */
  readonly jobId: string;
  readonly logger: Logger;
  /** Of one request. Default 10 000. */
  readonly requestTimeoutMs?: number;
  /** Requests of one read or write, the first included. Default 5. */
  readonly attempts?: number;
  /** Before the second request; doubles, up to 5 s. Default 500. */
  readonly firstDelayMs?: number;
}

export class OmaChangeIdStore implements ChangeIdStore {
  readonly kind = "oma";
  constructor(_db: StateDatabase, _options: OmaOptions) {}
  read(_vm: VmIdentity, _deviceKey: number, _signal?: AbortSignal): Promise<string | undefined> {
    throw new Error("not written yet");
  }
  write(
    _vm: VmIdentity,
    _deviceKey: number,
    _changeId: string,
    _previous: string | undefined,
    _signal?: AbortSignal,
  ): Promise<void> {
    throw new Error("not written yet");
  }
}
