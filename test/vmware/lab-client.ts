/** Our client on the laboratory's vCenter, in a directory of its own. */

import { pino } from "pino";
import { VsphereClient, type VsphereConnectOptions } from "../../src/vmware/vmware.ts";
import { startVcenter, type VcenterLab, type VcenterOptions } from "../lab/vcenter/vcenter.ts";
import { tempDir } from "../temp-dir.ts";

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
  await using stack = new AsyncDisposableStack();
  const { path: labDir } = stack.use(await tempDir());
  const lab = stack.use(await startVcenter({ labDir, ...options }));
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
      busyMs: 20_000,
      ...changes,
      ...more,
    });
  const client = await connect();
  stack.defer(() => client.close());
  const owned = stack.move();
  return { lab, client, warnings, connect, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
