/** The vSphere client: what a migration asks of a vCenter or ESXi host, without any wire detail. */

import type { Logger } from "pino";
import type { MigratekitError } from "../errors.ts";
import { hostAndPort } from "../text.ts";
import { type ChangedAreasQuery, changedAreas } from "./changed-areas.ts";
import { type Datastore, readDatastores } from "./datastores.ts";
import { readEndpointUuid } from "./endpoint-uuid.ts";
import { findVm, findVmByUuid, readVmPath } from "./inventory/inventory.ts";
import { type InventoryListing, type InventoryVm, openInventory } from "./inventory/machines.ts";
import { missingPrivileges, readLicenseEditions } from "./privileges.ts";
import {
  createSnapshot,
  type RemoveOptions,
  removeSnapshot,
  type SnapshotNode,
  type SnapshotSpec,
  snapshotTree,
  type TaskOptions,
} from "./snapshots.ts";
import { runTask, whenFree } from "./tasks.ts";
import type { VirtualDisk } from "./virtual-disk.ts";
import {
  enableChangeTracking,
  type PowerState,
  readPowerState,
  readSnapshotDisks,
  readVm,
  type VmDetails,
} from "./vm-details.ts";
import { type TrustedCertificate, type TrustOptions, TrustPolicy } from "./wire/certificate.ts";
import { asMigratekitError, EndpointError } from "./wire/faults.ts";
import { HttpsTransport } from "./wire/https-transport.ts";
import { Patience } from "./wire/patience.ts";
import type { About } from "./wire/service-content.ts";
import { argumentReference, SoapChannel } from "./wire/soap-channel.ts";
import { Session } from "./wire/wire.ts";

export interface VsphereConnectOptions {
  readonly host: string;
  readonly port: number;
  readonly username: string;
  readonly password: string;
  readonly trust: TrustOptions;
  readonly logger: Logger;
  /** Aborts connecting and logging in; the calls take their own. */
  readonly signal?: AbortSignal | undefined;
  /** Default 5 minutes; vCenter drops sessions that were idle for 30. */
  readonly keepAliveMs?: number | undefined;
  /** Bound of each single exchange; default 2 minutes. */
  readonly requestTimeoutMs?: number | undefined;
  /** How long a restarting endpoint is waited for, once logged in; default 10 minutes. */
  readonly outageMs?: number | undefined;
  /** How long a fault is waited out that passes by itself, such as another task's on the VM; default 10 minutes. */
  readonly busyMs?: number | undefined;
  /** Told what is waited for then, for people; undefined when it is over. */
  readonly onWaiting?: ((what: string | undefined) => void) | undefined;
}

/** Every method rejects with `MigratekitError` (exit class vsphere) or the signal's reason. */
export class VsphereClient implements AsyncDisposable {
  readonly endpoint: string;
  readonly about: About;
  /** See `readEndpointUuid` in endpoint-uuid.ts. */
  readonly uuid: string | undefined;
  readonly #session: Session;
  readonly #transport: HttpsTransport;
  readonly #policy: TrustPolicy;

  private constructor(
    session: Session,
    transport: HttpsTransport,
    policy: TrustPolicy,
    uuid: string | undefined,
  ) {
    this.endpoint = transport.endpoint;
    this.about = session.content.about;
    this.uuid = uuid;
    this.#session = session;
    this.#transport = transport;
    this.#policy = policy;
  }

  static async connect(options: VsphereConnectOptions): Promise<VsphereClient> {
    const { host, port, logger, requestTimeoutMs = 120_000 } = options;
    const policy = new TrustPolicy(hostAndPort(host, port), options.trust);
    const transport = new HttpsTransport({ host, port, policy, requestTimeoutMs });
    let session: Session | undefined;
    try {
      session = await Session.open(await SoapChannel.open(transport), {
        username: options.username,
        password: options.password,
        logger,
        signal: options.signal,
        keepAliveMs: options.keepAliveMs ?? 5 * 60_000,
        outageMs: options.outageMs ?? 10 * 60_000,
        patience: new Patience({
          busyMs: options.busyMs ?? 10 * 60_000,
          logger,
          onWaiting: options.onWaiting,
        }),
      });
      return new VsphereClient(session, transport, policy, await readEndpointUuid(session));
    } catch (error) {
      await session?.close();
      transport.close();
      throw asMigratekitError(error, "connect to vSphere");
    }
  }

  /** The accepted certificate and what the trust in it rests on; its SHA-1 is what VDDK is given. */
  get certificate(): TrustedCertificate {
    const { accepted } = this.#policy;
    if (!accepted) throw new Error("a client exists without a certificate");
    return accepted;
  }

  /** Moref of the machine at an inventory path; `vm-not-found` lists near matches. */
  async findVm(path: string): Promise<string> {
    return await this.#try(`look up ${path}`, findVm(this.#session, path));
  }

  /** See `findVmByUuid` in inventory.ts. */
  async findVmByUuid(instanceUuid: string): Promise<string | undefined> {
    const found = findVmByUuid(this.#session, instanceUuid);
    return await this.#try(`look up the VM with the UUID ${instanceUuid}`, found);
  }

  /** See `readVmPath` in inventory.ts. */
  async readVmPath(moref: string): Promise<string | undefined> {
    return await this.#try(`look up the path of ${moref}`, readVmPath(this.#session, moref));
  }

  /** See `openInventory` in inventory/machines.ts. */
  async openInventory(path: string | undefined, signal: AbortSignal): Promise<InventoryListing> {
    const opened = openInventory(this.#session, path, signal);
    const { below, vms } = await this.#try("look at the inventory", opened);
    return { below, vms: this.#listed(vms) };
  }

  async *#listed(vms: AsyncIterable<InventoryVm>): AsyncGenerator<InventoryVm> {
    try {
      yield* vms;
    } catch (error) {
      throw this.#told(error, "list the virtual machines");
    }
  }

  async readVm(moref: string): Promise<VmDetails> {
    return await this.#try(`read the properties of ${moref}`, readVm(this.#session, moref));
  }

  async enableChangeTracking(moref: string, signal?: AbortSignal): Promise<void> {
    const enabled = enableChangeTracking(this.#session, moref, signal);
    await this.#try(`turn on change tracking of ${moref}`, enabled, "cbt-unavailable");
  }

  /** See `createSnapshot` in snapshots.ts: falls back to not quiesced, with a warning. */
  async createSnapshot(
    moref: string,
    spec: SnapshotSpec,
    options: TaskOptions = {},
  ): Promise<{ moref: string; quiesced: boolean }> {
    return await createSnapshot(this.#session, moref, spec, options);
  }

  async readSnapshotDisks(snapshotMoref: string): Promise<VirtualDisk[]> {
    const disks = readSnapshotDisks(this.#session, snapshotMoref);
    return await this.#try(`read the disks of ${snapshotMoref}`, disks);
  }

  /** Removes this one snapshot; resolves also when it was gone already. */
  async removeSnapshot(
    snapshotMoref: string,
    options: RemoveOptions = {},
  ): Promise<{ consolidationNeeded: boolean }> {
    return await removeSnapshot(this.#session, snapshotMoref, options);
  }

  async snapshotTree(vmMoref: string): Promise<SnapshotNode[]> {
    return await this.#try(
      `read the snapshots of ${vmMoref}`,
      snapshotTree(this.#session, vmMoref),
    );
  }

  /** See `changedAreas` in changed-areas.ts. */
  changedAreas(query: ChangedAreasQuery): AsyncIterable<Float64Array> {
    return changedAreas(this.#session, query);
  }

  /** See `readDatastores` in datastores.ts. */
  async readDatastores(moref: string, signal?: AbortSignal): Promise<Datastore[]> {
    const found = readDatastores(this.#session, moref, signal);
    return await this.#try(`read the datastores of ${moref}`, found);
  }

  async readPowerState(moref: string): Promise<PowerState> {
    return await this.#try(
      `read the power state of ${moref}`,
      readPowerState(this.#session, moref),
    );
  }

  /** Asks the guest's Tools to shut it down; returns before it is off. */
  async shutdownGuest(moref: string, signal?: AbortSignal): Promise<void> {
    const args = { _this: argumentReference("VirtualMachine", moref) };
    const ask = () => this.#session.send("ShutdownGuest", args);
    const asked = whenFree(this.#session, { vmMoref: moref, signal }, ask);
    await this.#try(`shut down the guest of ${moref}`, asked);
  }

  async powerOff(moref: string, options: TaskOptions = {}): Promise<void> {
    await this.#power(moref, "poweredOff", options);
  }

  async powerOn(moref: string, options: TaskOptions = {}): Promise<void> {
    await this.#power(moref, "poweredOn", options);
  }

  async #power(
    moref: string,
    wanted: Exclude<PowerState, "suspended">,
    options: TaskOptions,
  ): Promise<void> {
    const isSo = async () =>
      (await readPowerState(this.#session, moref)) === wanted ? true : undefined;
    const on = wanted === "poweredOn";
    const done = runTask(this.#session, {
      operation: on ? "PowerOnVM_Task" : "PowerOffVM_Task",
      args: { _this: argumentReference("VirtualMachine", moref) },
      vmMoref: moref,
      outcomeOf: () => true,
      lookUp: isSo,
      ...options,
    });
    await this.#try(`power ${on ? "on" : "off"} ${moref}`, done, "vsphere-task-failed");
  }

  /** Those of `names` that the account does not hold on the object. */
  async missingPrivileges(
    moref: string,
    names: readonly string[],
    type = "VirtualMachine",
  ): Promise<string[]> {
    const missing = missingPrivileges(this.#session, { type, moref }, names);
    return await this.#try(`read the privileges on ${moref}`, missing);
  }

  /** See `readLicenseEditions` in privileges.ts. */
  async readLicenseEditions(): Promise<string[]> {
    return await this.#try("read the licences", readLicenseEditions(this.#session));
  }

  /** Logs out and closes every connection. Does not reject; may be called twice. */
  async close(): Promise<void> {
    await this.#session.close();
    this.#transport.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #try<T>(what: string, work: Promise<T>, code?: MigratekitError["code"]): Promise<T> {
    try {
      return await work;
    } catch (error) {
      throw this.#told(error, what, code);
    }
  }

  /** An EndpointError names the endpoint itself. */
  #told(error: unknown, what: string, code?: MigratekitError["code"]): unknown {
    const where = error instanceof EndpointError ? "" : ` on ${this.endpoint}`;
    return asMigratekitError(error, `${what}${where}`, code);
  }
}
