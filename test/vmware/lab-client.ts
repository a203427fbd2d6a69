/** Our client on the laboratory's vCenter, in a directory of its own. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { pino } from "pino";
import { VsphereClient, type VsphereConnectOptions } from "../../src/vmware/vmware.ts";
import { startVcenter, type VcenterLab, type VcenterOptions } from "../lab/vcenter/vcenter.ts";

export interface LabClient extends AsyncDisposable {
  readonly lab: VcenterLab;
  readonly client: VsphereClient;
  /** Messages logged at level warn and above. */
  readonly warnings: string[];
  connect(changes?: Partial<VsphereConnectOptions>): Promise<VsphereClient>;
}

export async function startLabClient(
  options: Omit<VcenterOptions, "labDir"> = {},
  changes: Partial<VsphereConnectOptions> = {},
): Promise<LabClient> {
  const labDir = await mkdtemp(path.join(tmpdir(), "migratekit-vmware-"));
  const lab = await startVcenter({ labDir, ...options });
  const warnings: string[] = [];
  const logger = pino(
    { level: "warn" },
    { write: (line: string) => void warnings.push((JSON.parse(line) as { msg: string }).msg) },
  );
  const [host = "", port] = lab.endpoint.split(":");
  const connect = (more: Partial<VsphereConnectOptions> = {}) =>
    VsphereClient.connect({
      host,
      port: Number(port),
      username: lab.username,
      password: lab.password,
      trust: { thumbprint: lab.thumbprintSha1 },
      logger,
      keepAliveMs: 0,
      outageMs: 20_000,
      ...changes,
      ...more,
    });
  const client = await connect();
  return {
    lab,
    client,
    warnings,
    connect,
    async [Symbol.asyncDispose]() {
      await client.close();
      await lab.stop();
      await rm(labDir, { recursive: true, force: true });
    },
  };
}
