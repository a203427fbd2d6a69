/** The CloudStack that the settings name. */

import type { Logger } from "pino";
import { CloudStack } from "../cloudstack/cloudstack.ts";
import { type Config, requireSettings } from "../config.ts";

export interface CloudContext {
  readonly config: Config;
  readonly logger: Logger;
  readonly signal?: AbortSignal | undefined;
}

/** Asks nothing yet. @throws MigratekitError `usage` where settings are missing */
export function openCloudStack({ config, logger, signal }: CloudContext): CloudStack {
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
  return new CloudStack(settings, { logger, signal });
}
