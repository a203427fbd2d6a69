/** The CloudStack that the settings name. */

import type { Logger } from "pino";
import { CloudStack } from "../cloudstack/cloudstack.ts";
import { type Config, requireSettings } from "../config.ts";
import type { RunLease } from "./lease.ts";

export interface CloudContext {
  readonly config: Config;
  readonly logger: Logger;
  readonly signal?: AbortSignal | undefined;
  /** Looked at before each request that changes anything, and before it is sent again. */
  readonly lease?: Pick<RunLease, "holds">;
}

/** Asks nothing yet. @throws MigratekitError `usage` where settings are missing */
export function openCloudStack({ config, logger, signal, lease }: CloudContext): CloudStack {
  requireSettings(config, "cloudstack-endpoint", "cloudstack-api-key", "cloudstack-secret-key");
  const settings = {
    endpoint: config.cloudstackEndpoint!,
    apiKey: config.cloudstackApiKey!,
    secretKey: config.cloudstackSecretKey!,
    caFile: config.cloudstackCaFile,
    insecure: config.cloudstackInsecure,
    zone: config.cloudstackZone,
    domain: config.cloudstackDomain,
    account: config.cloudstackAccount,
    project: config.cloudstackProject,
  };
  return new CloudStack(settings, {
    ...{ logger, signal },
    ...(lease && { beforeWrite: () => lease.holds() }),
  });
}
