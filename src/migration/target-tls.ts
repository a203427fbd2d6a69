/** What `--nbd-tls-…` say, and what follows for the URI of a target. */
import type { Config } from "../config.ts";
import type { TargetTlsOptions } from "../nbd/target/tls.ts";
import { uriOfIdentity } from "../nbd/target/uri.ts";
import type { State } from "../state/state.ts";
import type { VmIdentity } from "../state/vm-identity.ts";

interface Settings {
  readonly config: Pick<Config, "nbdTlsCaFile" | "nbdTlsCertificates" | "nbdTlsPskFile">;
}

export function tlsOptionsOf({ config }: Settings): TargetTlsOptions {
  return {
    caFile: config.nbdTlsCaFile,
    certificatesDir: config.nbdTlsCertificates,
    pskFile: config.nbdTlsPskFile,
  };
}

/** Whether any is given; then targets are spoken to by TLS. */
export function asksForTls(settings: Settings): boolean {
  return Object.values(tlsOptionsOf(settings)).some((path) => path !== undefined);
}

/** Where the disk was copied to last; undefined: nothing is known of it. */
export function lastTargetUri(
  {
    identity,
    state,
    ...settings
  }: Settings & {
    readonly identity: VmIdentity;
    readonly state: Pick<State, "records">;
  },
  deviceKey: number,
): string | undefined {
  const target = state.records.readDiskRecord(identity, deviceKey)?.targetUri;
  return target === undefined ? undefined : uriOfIdentity(target, asksForTls(settings));
}
