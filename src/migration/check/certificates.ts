/** The part of a preflight that looks at how long the certificates of TLS targets are valid. */
import { MigratekitError, messageOf } from "../../errors.ts";
import { mapLimited } from "../../map-limited.ts";
import type { NbdEndpoint } from "../../nbd/copy-engine/copy-engine.ts";
import { certificatesOf, type SeenCertificate } from "../../nbd/target/certificate.ts";
import { displayUri, parseNbdUri } from "../../nbd/target/uri.ts";
import { type Finding, problem, warning } from "./finding.ts";

const dayMs = 24 * 60 * 60 * 1000;
/** Long enough to have a new one made, and to be told of it by a check each week. */
const warningDays = 30;
const timeoutMs = 10_000;
const serversAtOnce = 4;

/** One target of each server is asked. @throws the signal's reason */
export async function certificateFindings(
  endpoints: readonly NbdEndpoint[],
  signal: AbortSignal,
): Promise<Finding[]> {
  const servers = new Map(endpoints.map((endpoint) => [serverOf(endpoint), endpoint]));
  const found = await mapLimited([...servers.values()], serversAtOnce, async (endpoint) => {
    const limited = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
    try {
      const certificates = await certificatesOf(endpoint, limited);
      return certificates.flatMap((certificate) => judge(certificate, endpoint, Date.now()));
    } catch (error) {
      signal.throwIfAborted();
      const message = `how long the certificate of ${displayUri(endpoint.uri)} is valid could not be seen: ${messageOf(error)}`;
      return [warning("target", message, "See what else is said of this target.")];
    }
  });
  return [...new Map(found.flat().map((finding) => [finding.message, finding])).values()];
}

function serverOf({ uri }: NbdEndpoint): string {
  const { scheme, host, port, socketPath } = parseNbdUri(uri);
  return `${scheme} ${host} ${port} ${socketPath}`;
}

function judge(
  { whose, subject, validTo }: SeenCertificate,
  { uri }: NbdEndpoint,
  now: number,
): Finding[] {
  const days = Math.floor((validTo.getTime() - now) / dayMs);
  const certificate =
    whose === "server"
      ? `the certificate that ${displayUri(uri)} shows (${subject})`
      : `the client certificate of --nbd-tls-certificates (${subject})`;
  const day = validTo.toISOString().slice(0, 10);
  if (validTo.getTime() <= now)
    return [
      problem(
        "target",
        new MigratekitError("target-certificate", `${certificate} expired on ${day}`),
      ),
    ];
  if (days >= warningDays) return [];
  const remedy = "Have it renewed; docs/tunnel.md says how one is made.";
  return [warning("target", `${certificate} expires in ${days} days, on ${day}`, remedy)];
}
