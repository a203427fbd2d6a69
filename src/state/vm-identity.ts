import type { StateDatabase } from "./database/database.ts";

/** What tells one VM from every other: its instance UUID behind the endpoint it is reached by. */
export interface VmIdentity {
  /** HOST[:PORT] of the vCenter or ESXi host; case and the default port 443 make no difference. */
  readonly endpoint: string;
  readonly instanceUuid: string;
  /** Where it was found last; for people and for the OMA API, not part of the identity. */
  readonly vmPath: string;
}

/** The spelling under which an endpoint is stored. */
export function normalEndpoint(endpoint: string): string {
  return endpoint.trim().toLowerCase().replace(/:443$/, "");
}

/** The row of a VM, or undefined. Inside a transaction or view. */
export function findVmRow(db: StateDatabase, vm: VmIdentity): number | undefined {
  const sql = "SELECT id FROM vm WHERE endpoint = ? AND instance_uuid = ?";
  return db.get(sql, normalEndpoint(vm.endpoint), vm.instanceUuid.toLowerCase())?.number("id");
}

/** The row of a VM, made or brought up to date where necessary. Inside a transaction. */
export function ensureVmRow(db: StateDatabase, vm: VmIdentity): number {
  db.run(
    `INSERT INTO vm (endpoint, instance_uuid, vm_path) VALUES (?, ?, ?)
     ON CONFLICT (endpoint, instance_uuid) DO UPDATE SET vm_path = excluded.vm_path`,
    normalEndpoint(vm.endpoint),
    vm.instanceUuid.toLowerCase(),
    vm.vmPath,
  );
  return findVmRow(db, vm)!;
}

/** Every VM that the state knows, in the order in which they were first seen. */
export function listVms(db: StateDatabase): VmIdentity[] {
  return db.view("Listing the known VMs", () =>
    db.all("SELECT endpoint, instance_uuid, vm_path FROM vm ORDER BY id").map((row) => ({
      endpoint: row.text("endpoint"),
      instanceUuid: row.text("instance_uuid"),
      vmPath: row.text("vm_path"),
    })),
  );
}
