/** The endpoint, and the VM on it: login, trust in the certificate, licence. Nothing is remembered. */
import type { Logger } from "pino";
import { type Config, endpointText, requireSettings } from "../../config.ts";
import { MigratekitError } from "../../errors.ts";
import type { State } from "../../state/state.ts";
import type { VmIdentity } from "../../state/vm-identity.ts";
import type { UndoStack } from "../../undo.ts";
import type { VmDetails } from "../../vmware/vm-details.ts";
import { VsphereClient } from "../../vmware/vmware.ts";
import { oldEndpoint } from "../versions.ts";
import { locateVm } from "../vm/locate.ts";
import { connectOptions } from "../vm/site.ts";
import { type Finding, ok, problem, warning, warningsOf } from "./finding.ts";

export interface FoundVm {
  readonly findings: Finding[];
  readonly client?: VsphereClient;
  readonly vm?: VmDetails;
  readonly identity?: VmIdentity;
}

/** Logs in and finds the VM, as far as that goes; the session ends with `undo`. */
export async function findVm(
  config: Config,
  state: State | undefined,
  undo: UndoStack,
  signal: AbortSignal,
): Promise<FoundVm> {
  const findings: Finding[] = [];
  const logger = warningsOf((message) =>
    findings.push(warning("vsphere", message, "Run again; if it stays, look at the endpoint.")),
  );
  let client: VsphereClient | undefined;
  try {
    const endpoint = endpointText(config);
    const pinned = state?.trust.readPin(endpoint);
    const connected = await connectReadOnly(config, pinned, logger, signal);
    client = connected;
    undo.defer("end the vSphere session", () => connected.close());
    findings.push(...(await checkEndpoint(client, endpoint)));
    requireSettings(config, "vmware-path");
    const vmPath = config.vmwarePath!;
    const notice = (text: string) =>
      findings.push(warning("vm", text, "Make sure that it is the VM that you mean."));
    return { findings, client, ...(await locateVm(client, state, endpoint, vmPath, notice)) };
  } catch (error) {
    signal.throwIfAborted();
    findings.push(problem(areaOf(error), error));
    return { findings, ...(client === undefined ? {} : { client }) };
  }
}

/** Of what kept the VM from being found or read. */
export function areaOf(error: unknown) {
  if (!(error instanceof MigratekitError)) return "vsphere";
  if (error.code === "usage") return "settings";
  return error.code === "vm-not-found" || error.code === "vm-unsuitable" ? "vm" : "vsphere";
}

/** Waits for little: someone looks on. @throws MigratekitError `usage`, `vsphere-…` */
export async function connectReadOnly(
  config: Config,
  pinned: string | undefined,
  logger: Logger,
  signal: AbortSignal,
  busyMs = 10_000,
): Promise<VsphereClient> {
  requireSettings(config, "vmware-endpoint", "vmware-username", "vmware-password");
  return await VsphereClient.connect({
    ...connectOptions(config, pinned, logger, signal),
    requestTimeoutMs: 30_000,
    outageMs: 5_000,
    busyMs,
  });
}

/** Endpoint, trust in its certificate, licence. */
export async function checkEndpoint(client: VsphereClient, endpoint: string): Promise<Finding[]> {
  const { about, certificate } = client;
  const { trust, sha256 } = certificate;
  const found = [ok("vsphere", `${endpoint}: ${about.fullName}, login accepted`)];
  if (trust === "first-use") {
    found.push(
      warning(
        "vsphere",
        `a run would trust its certificate on first use and remember it: SHA-256 ${sha256}`,
        `Compare it with the host's own; --vmware-thumbprint ${sha256} makes sure.`,
      ),
    );
  } else if (trust === "insecure") {
    found.push(
      warning(
        "vsphere",
        "--vmware-insecure: the certificate is not checked, so anybody between could have the password",
        `Compare it with the host's own and give --vmware-thumbprint ${sha256} instead.`,
      ),
    );
  } else {
    found.push(ok("vsphere", `certificate trusted by ${trust}: SHA-256 ${sha256}`));
  }
  const tooOld = oldEndpoint(about);
  if (tooOld) found.push(problem("vsphere", tooOld));
  // Most accounts may not see licences; that is no finding.
  const editions = await client.readLicenseEditions().catch(() => []);
  if (editions.length > 0 && editions.every((edition) => edition === "esxBasic")) {
    const free = new MigratekitError(
      "vsphere-fault",
      "the licence is the free hypervisor's, whose host refuses snapshots over the API",
      { remedy: "Go through a vCenter, or license the host." },
    );
    found.push(problem("vsphere", free));
  }
  return found;
}
