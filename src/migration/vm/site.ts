import type { Logger } from "pino";
import { type Config, endpointText, requireSettings } from "../../config.ts";
import type { State } from "../../state/state.ts";
import type { TrustStore } from "../../state/trust.ts";
import type { VmIdentity } from "../../state/vm-identity.ts";
import type { VmDetails } from "../../vmware/vm-details.ts";
import { VsphereClient, type VsphereConnectOptions } from "../../vmware/vmware.ts";
import type { TrustedCertificate } from "../../vmware/wire/certificate.ts";
import { locateVm } from "./locate.ts";

/** The vSphere session of a run and the VM that it is about. */
export interface Site {
  readonly client: VsphereClient;
  readonly vm: VmDetails;
  /** As given on the command line. */
  readonly vmPath: string;
  /** `host:port` */
  readonly endpoint: string;
}

/** @throws MigratekitError `usage` naming every setting that is missing to reach the VM */
export function requireConnection(config: Config): void {
  requireSettings(config, "vmware-endpoint", "vmware-username", "vmware-password", "vmware-path");
}

/**
 * Connects and reads the VM.
 * @throws MigratekitError `usage`, `vsphere-…`, `vm-not-found`
 */
export async function findSite(
  config: Config,
  logger: Logger,
  signal: AbortSignal,
  state: State,
  onWaiting?: (what: string | undefined) => void,
): Promise<{ site: Site; identity: VmIdentity }> {
  requireConnection(config);
  const { vmwarePath } = config;
  const endpoint = endpointText(config);
  const pinned = state.trust.readPin(endpoint);
  const client = await VsphereClient.connect({
    ...connectOptions(config, pinned, logger, signal),
    onWaiting,
  });
  try {
    settleTrust(client.certificate, endpoint, state.trust, logger);
    const notice = (text: string) => logger.warn(text);
    const { vm, identity } = await locateVm(client, state, endpoint, vmwarePath!, notice);
    return { site: { client, vm, vmPath: vmwarePath!, endpoint }, identity };
  } catch (error) {
    await client.close().catch(() => {});
    throw error;
  }
}

/** Who logs in where, and whom to trust; endpoint, user and password must be given. */
export function connectOptions(
  config: Config,
  pinned: string | undefined,
  logger: Logger,
  signal: AbortSignal,
): VsphereConnectOptions {
  const { vmwareEndpoint, vmwareUsername, vmwarePassword } = config;
  return {
    host: vmwareEndpoint!.host,
    port: vmwareEndpoint!.port,
    username: vmwareUsername!,
    password: vmwarePassword!.reveal(),
    trust: {
      thumbprint: config.vmwareThumbprint,
      caFile: config.vmwareCaFile,
      insecure: config.vmwareInsecure,
      pinned,
    },
    logger,
    signal,
    busyMs: config.busyTimeout,
  };
}

/** Remembers what later runs are to hold the endpoint to, and tells how far its certificate was checked. */
function settleTrust(
  { trust: basis, sha256 }: TrustedCertificate,
  endpoint: string,
  trust: TrustStore,
  logger: Logger,
): void {
  const pinned = trust.readPin(endpoint);
  if (basis === "first-use") {
    trust.writePin(endpoint, sha256);
    logger.warn(
      { endpoint, sha256 },
      `the certificate of ${endpoint} is trusted on first use and remembered: SHA-256 ${sha256}; ` +
        "compare it with the host's own, and give --vmware-thumbprint to be sure",
    );
  } else if (basis === "thumbprint") {
    if (pinned !== undefined && pinned !== sha256) {
      logger.warn(
        { endpoint, sha256, previous: pinned },
        `the certificate that was remembered for ${endpoint} is replaced by the one given: SHA-256 ${sha256}`,
      );
    }
    trust.replacePin(endpoint, sha256);
  } else if (basis === "insecure") {
    const changed = pinned !== undefined && pinned !== sha256;
    logger.warn(
      { endpoint, sha256, ...(changed ? { remembered: pinned } : {}) },
      `--vmware-insecure: THE CERTIFICATE OF ${endpoint} WAS NOT CHECKED; whoever stands between here ` +
        `and there has the password now. Seen: SHA-256 ${sha256}${changed ? `, remembered was SHA-256 ${pinned}` : ""}`,
    );
  }
}
