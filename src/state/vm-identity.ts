import type { StateDatabase } from "./database/database.ts";
import type { Row } from "./database/row.ts";

/**
 * What tells one VM from every other: its instance UUID, and the UUID of the vCenter or ESXi host that
 * shows it. Only where the endpoint tells none, its address stands for it.
 */
export interface VmIdentity {
  /** HOST[:PORT] as it was reached last; case and the default port 443 make no difference. */
  readonly endpoint: string;
  /** A vCenter's instance UUID, an ESXi host's hardware UUID. Absent: not told, or by an older state. */
  readonly endpointUuid?: string;
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
  return findRow(db, vm)?.number("id");
}

/** The row of a VM, made or brought up to date where necessary. Inside a transaction. */
export function ensureVmRow(db: StateDatabase, vm: VmIdentity): number {
  const endpoint = normalEndpoint(vm.endpoint);
  const endpointUuid = vm.endpointUuid?.toLowerCase() ?? null;
  if (endpointUuid !== null) {
    db.run(
      `INSERT INTO endpoint_address (address, endpoint_uuid) VALUES (?, ?)
       ON CONFLICT (address) DO UPDATE SET endpoint_uuid = excluded.endpoint_uuid
       WHERE endpoint_uuid <> excluded.endpoint_uuid`,
      endpoint,
      endpointUuid,
    );
  }
  const known = findVmRow(db, vm);
  if (known === undefined) {
    db.run(
      "INSERT INTO vm (endpoint, endpoint_uuid, instance_uuid, vm_path) VALUES (?, ?, ?, ?)",
      endpoint,
      endpointUuid,
      vm.instanceUuid.toLowerCase(),
      vm.vmPath,
    );
    return findVmRow(db, vm)!;
  }
  db.run(
    `UPDATE vm SET endpoint = ?2, endpoint_uuid = coalesce(?3, endpoint_uuid), vm_path = ?4
     WHERE id = ?1 AND (endpoint, endpoint_uuid, vm_path) IS NOT (?2, coalesce(?3, endpoint_uuid), ?4)`,
    known,
    endpoint,
    endpointUuid,
    vm.vmPath,
  );
  return known;
}

/**
 * The VM as the state has it, under the address that it was reached by before; undefined for one that
 * it does not know.
 */
export function findKnownVm(db: StateDatabase, vm: VmIdentity): VmIdentity | undefined {
  return db.view("Looking up the VM", () => {
    const row = findRow(db, vm);
    return row && toIdentity(row);
  });
}

/** Every VM that the state knows, in the order in which they were first seen. */
export function listVms(db: StateDatabase): VmIdentity[] {
  return db.view("Listing the known VMs", () =>
    db.all("SELECT * FROM vm ORDER BY id").map(toIdentity),
  );
}

/**
 * Those of one endpoint; without its UUID, of the one that had this address last. The VM worked on
 * last comes last.
 */
export function listVmsAt(
  db: StateDatabase,
  { endpoint, endpointUuid }: Pick<VmIdentity, "endpoint" | "endpointUuid">,
): VmIdentity[] {
  const sql = `SELECT * FROM vm
    WHERE endpoint_uuid =
        coalesce(?2, (SELECT endpoint_uuid FROM endpoint_address WHERE address = ?1))
      OR (endpoint_uuid IS NULL AND endpoint = ?1)
    ORDER BY (SELECT max(sequence) FROM run WHERE vm_id = vm.id), id`;
  return db.view("Listing the known VMs", () =>
    db.all(sql, normalEndpoint(endpoint), endpointUuid?.toLowerCase() ?? null).map(toIdentity),
  );
}

/** The VM of the last run that reported under this progress job, as far as runs are remembered. */
export function findVmOfJob(db: StateDatabase, jobId: string): VmIdentity | undefined {
  const sql = `SELECT vm.* FROM run JOIN vm ON vm.id = run.vm_id
    WHERE run.progress_job = ? ORDER BY run.sequence DESC LIMIT 1`;
  return db.view("Looking up the job's VM", () => {
    const row = db.get(sql, jobId);
    return row && toIdentity(row);
  });
}

/** From a row of the table `vm`. @throws MigratekitError `state-unusable` for what cannot be in it */
export function toIdentity(row: Row): VmIdentity {
  const endpointUuid = row.optionalText("endpoint_uuid");
  return {
    endpoint: row.text("endpoint"),
    ...(endpointUuid === undefined ? {} : { endpointUuid }),
    instanceUuid: row.text("instance_uuid"),
    vmPath: row.text("vm_path"),
  };
}

function findRow(db: StateDatabase, vm: VmIdentity): Row | undefined {
  const endpoint = normalEndpoint(vm.endpoint);
  const instanceUuid = vm.instanceUuid.toLowerCase();
  const { endpointUuid } = vm;
  if (endpointUuid === undefined) return db.get(selectByAddress, endpoint, instanceUuid);
  const sql = "SELECT * FROM vm WHERE endpoint_uuid = ? AND instance_uuid = ?";
  return (
    db.get(sql, endpointUuid.toLowerCase(), instanceUuid) ??
    db.get(selectOlder, endpoint, instanceUuid)
  );
}

/** One endpoint may have told its UUID at one time and not at another. */
const selectByAddress = `
  SELECT * FROM vm WHERE endpoint = ?1 AND instance_uuid = ?2 ORDER BY id DESC LIMIT 1`;

/**
 * A row from before endpoints were known by their UUID: that of the same address, unless the VM was
 * synced to the same target under another address since; else the one that was synced last.
 */
const selectOlder = `
  SELECT vm.* FROM vm
  WHERE vm.endpoint_uuid IS NULL AND vm.instance_uuid = ?2
  ORDER BY
    vm.endpoint = ?1 AND NOT EXISTS (
      SELECT 1 FROM disk
      JOIN target ON target.name = disk.target_uri AND target.device_key = disk.device_key
      JOIN vm AS owner ON owner.id = target.vm_id
      WHERE disk.vm_id = vm.id AND owner.id <> vm.id AND owner.instance_uuid = vm.instance_uuid
    ) DESC,
    (SELECT max(sequence) FROM disk WHERE vm_id = vm.id) DESC,
    vm.id DESC
  LIMIT 1`;
