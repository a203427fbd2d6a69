/** Machines that are being made in CloudStack of a VM's volumes: a goal and names, all else is seen there. */
import type { StateDatabase } from "../database/database.ts";
import { damaged, type Row } from "../database/row.ts";
import { ensureVmRow, findVmRow, type VmIdentity } from "../vm-identity.ts";

/** `rehearsal`: of clones, which are thrown away. */
export type DeploymentPurpose = "cutover" | "rehearsal";

const goals = ["deploy", "undo"] as const;
export type DeploymentGoal = (typeof goals)[number];

/** A volume of CloudStack, and the disk of the VM that it holds. */
export interface DeployedVolume {
  readonly deviceKey: number;
  readonly id: string;
}

export interface StoredDeployment {
  readonly runId: string;
  /** ISO 8601 */
  readonly since: string;
  readonly goal: DeploymentGoal;
  /** Of the instance that the volumes come from, and go back to. */
  readonly applianceId: string;
  /** The boot disk first, the others in the VM's order. */
  readonly volumes: readonly DeployedVolume[];
  /** Of the new machine; written down before it is asked for, so one of this name is ours. */
  readonly instanceName: string;
  readonly instanceId?: string;
  /** The root disk that it was made with, to be thrown away. */
  readonly ownRootId?: string;
  /** It may have run, and then its volumes are not what they were. */
  readonly started: boolean;
  /** ISO 8601: since when it is known to be alive; from there only a command goes back. */
  readonly aliveAt?: string;
  /** ISO 8601: since when the machine at VMware is down. */
  readonly downSince?: string;
  /** ISO 8601: of a rehearsal, when it is to be removed. */
  readonly until?: string;
}

/** What is learned on the way. */
export type DeploymentNews = Partial<
  Pick<StoredDeployment, "goal" | "instanceId" | "ownRootId" | "started" | "aliveAt">
>;

/** One of each purpose for each VM; whoever writes holds the VM's lock. Methods throw `state-unusable`. */
export class DeploymentStore {
  readonly #db: StateDatabase;

  constructor(db: StateDatabase) {
    this.#db = db;
  }

  read(vm: VmIdentity, purpose: DeploymentPurpose): StoredDeployment | undefined {
    return this.#db.view("Looking whether the VM is in CloudStack", () => {
      const row = this.#db.get(
        "SELECT * FROM deployment WHERE vm_id = ? AND purpose = ?",
        findVmRow(this.#db, vm) ?? -1,
        purpose,
      );
      return row && toDeployment(row, this.#db.path);
    });
  }

  /** Takes the place of one before, which must be undone by then. */
  begin(
    vm: VmIdentity,
    purpose: DeploymentPurpose,
    deployment: Pick<
      StoredDeployment,
      "runId" | "applianceId" | "volumes" | "instanceName" | "downSince" | "until"
    >,
  ): void {
    const { runId, applianceId, volumes, instanceName, downSince, until } = deployment;
    this.#db.transaction("Noting that a machine is to be made in CloudStack", () =>
      this.#db.run(
        `INSERT OR REPLACE INTO deployment (vm_id, purpose, run_id, since, goal, appliance_id, volumes,
           instance_name, started, down_since, until)
         VALUES (?, ?, ?, ?, 'deploy', ?, ?, ?, 0, ?, ?)`,
        ensureVmRow(this.#db, vm),
        purpose,
        runId,
        new Date().toISOString(),
        applianceId,
        JSON.stringify(volumes.map(({ deviceKey, id }) => ({ device_key: deviceKey, id }))),
        instanceName,
        downSince ?? null,
        until ?? null,
      ),
    );
  }

  /** Adds to what is known. */
  learn(vm: VmIdentity, purpose: DeploymentPurpose, news: DeploymentNews): void {
    const { goal, instanceId, ownRootId, started, aliveAt } = news;
    this.#db.transaction("Noting how far a machine in CloudStack is", () =>
      this.#db.run(
        `UPDATE deployment SET goal = coalesce(?, goal), instance_id = coalesce(?, instance_id),
           own_root_id = coalesce(?, own_root_id), started = coalesce(?, started),
           alive_at = coalesce(?, alive_at)
         WHERE vm_id = ? AND purpose = ?`,
        goal ?? null,
        instanceId ?? null,
        ownRootId ?? null,
        started === undefined ? null : Number(started),
        aliveAt ?? null,
        findVmRow(this.#db, vm) ?? -1,
        purpose,
      ),
    );
  }

  /** There is none any more. */
  forget(vm: VmIdentity, purpose: DeploymentPurpose): void {
    this.#db.transaction("Noting that a machine in CloudStack is gone", () =>
      this.#db.run(
        "DELETE FROM deployment WHERE vm_id = ? AND purpose = ?",
        findVmRow(this.#db, vm) ?? -1,
        purpose,
      ),
    );
  }
}

function toDeployment(row: Row, path: string): StoredDeployment {
  const optional = <K extends string>(key: K, column: string) => {
    const value = row.optionalText(column);
    return (value === undefined ? {} : { [key]: value }) as { readonly [P in K]?: string };
  };
  return {
    runId: row.text("run_id"),
    since: row.text("since"),
    goal: row.oneOf("goal", goals),
    applianceId: row.text("appliance_id"),
    volumes: toVolumes(row.json("volumes"), path),
    instanceName: row.text("instance_name"),
    started: row.number("started") === 1,
    ...optional("instanceId", "instance_id"),
    ...optional("ownRootId", "own_root_id"),
    ...optional("aliveAt", "alive_at"),
    ...optional("downSince", "down_since"),
    ...optional("until", "until"),
  };
}

function toVolumes(value: unknown, path: string): DeployedVolume[] {
  const wrong = () => damaged(path, "the volumes of a machine in CloudStack have another form");
  if (!Array.isArray(value)) return wrong();
  return value.map((volume: unknown) => {
    if (typeof volume !== "object" || volume === null) return wrong();
    if (!("device_key" in volume && "id" in volume)) return wrong();
    const { device_key: deviceKey, id } = volume;
    if (typeof deviceKey !== "number" || typeof id !== "string") return wrong();
    return { deviceKey, id };
  });
}
