// A vCenter alone, and the flags of `inventory` that reach it.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { startCli } from "../lab/run-cli.ts";
import { startVcenter, type VcenterLab, type VcenterOptions } from "../lab/vcenter/vcenter.ts";
import { tempDir } from "../temp-dir.ts";

export interface InventoryLab extends AsyncDisposable {
  readonly dir: string;
  readonly vcenter: VcenterLab;
  readonly stateDir: string;
  /** `inventory`, what it takes to log in, and more. */
  args(...more: string[]): string[];
  run(...more: string[]): ReturnType<typeof startCli>["result"];
  document(...more: string[]): Promise<InventoryDocument>;
}

export interface InventoryDocument {
  endpoint: string;
  below?: string;
  vm_count: number;
  disk_count: number;
  disk_bytes: number;
  used_bytes: number;
  blocked_count: number;
  noted_count: number;
  findings: FindingDocument[];
  plan?: { file: string; vm_count: number };
  vms: {
    vm_path: string;
    name: string;
    instance_uuid?: string;
    power_state?: string;
    connection_state?: string;
    used_bytes?: number;
    tracking?: string;
    snapshots?: { name: string; created_at: string; own: boolean }[];
    disks: { disk_id: string; capacity_bytes: number; controller?: string; bus?: number }[];
    disk_bytes: number;
    blocked: boolean;
    findings: FindingDocument[];
  }[];
}

export interface FindingDocument {
  area: string;
  level: string;
  message: string;
  remedy?: string;
  code?: string;
}

export async function startInventoryLab(
  options: Omit<VcenterOptions, "labDir">,
): Promise<InventoryLab> {
  await using stack = new AsyncDisposableStack();
  const { path: dir } = stack.use(await tempDir());
  const vcenter = stack.use(await startVcenter({ labDir: join(dir, "lab"), ...options }));
  const passwordFile = join(dir, "password");
  const stateDir = join(dir, "state");
  await writeFile(passwordFile, `${vcenter.password}\n`, { mode: 0o600 });
  const args = (...more: string[]) => [
    ...["inventory", "--vmware-endpoint", vcenter.endpoint],
    ...["--vmware-username", vcenter.username, "--vmware-password-file", passwordFile],
    ...["--vmware-thumbprint", vcenter.thumbprintSha1, "--state-dir", stateDir, ...more],
  ];
  const run = (...more: string[]) => startCli({ args: args(...more) }).result;
  const document = async (...more: string[]) => {
    const { code, stdout, stderr } = await run("--json", ...more);
    if (code !== 0) throw new Error(`inventory ended with ${code}: ${stdout}${stderr}`);
    return JSON.parse(stdout) as InventoryDocument;
  };
  const owned = stack.move();
  const parts = { dir, vcenter, stateDir, args, run, document };
  return { ...parts, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
