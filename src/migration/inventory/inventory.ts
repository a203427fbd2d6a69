/**
 * All VMs below a path, each judged as `check` would judge it, as far as that takes no more than what vSphere
 * tells and the state directory knows. Nothing is changed or remembered.
 */
import type { Logger } from "pino";
import { type Config, endpointText } from "../../config.ts";
import { keepHeapSmall } from "../../small-heap.ts";
import { State } from "../../state/state.ts";
import type { InventoryVm } from "../../vmware/inventory/machines.ts";
import type { VsphereClient } from "../../vmware/vmware.ts";
import { areaOf, checkEndpoint, connectReadOnly } from "../check/endpoint.ts";
import { judgeGuest, judgeSpace, judgeVersions, judgeVm } from "../check/facts/facts.ts";
import { type Finding, inOrder, problem, tried } from "../check/finding.ts";
import { checkConverted, checkCutOver } from "../check/vm.ts";
import { type InventoryRow, rowOf } from "./row.ts";

export interface InventoryContext {
  readonly config: Config;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

export interface Inventory {
  /** `host:port` */
  readonly endpoint: string;
  readonly endpointUuid: string | undefined;
  /** ISO 8601, UTC. */
  readonly listedAt: string;
  /** `VMware vCenter Server 8.0.3 build-…` */
  readonly product: string;
  /** Undefined: everything that the account sees. */
  readonly below: string | undefined;
  /** Problems and warnings of the endpoint, which concern every VM. */
  readonly findings: readonly Finding[];
  /** By folder, then by name. */
  readonly vms: readonly InventoryRow[];
}

const tellIntervalMs = 2000;

/**
 * `path` as `--vmware-path` has it, of a folder, a datacenter, a vApp or a VM; undefined: everything.
 * @throws MigratekitError `usage`, `vsphere-…`, `vm-not-found`, `state-unusable`; the signal's reason
 */
export async function readInventory(
  { config, logger, signal }: InventoryContext,
  path: string | undefined,
): Promise<Inventory> {
  keepHeapSmall();
  const endpoint = endpointText(config);
  using state = State.openExisting(config.stateDir);
  const pinned = state?.trust.readPin(endpoint);
  await using client = await connectReadOnly(config, pinned, logger, signal);
  const findings = await checkEndpoint(client, endpoint);
  const listedAt = new Date().toISOString();
  const { below, vms } = await client.openInventory(path, signal);
  const rows: InventoryRow[] = [];
  let toldMs = performance.now();
  for await (const vm of vms) {
    const judged = inOrder(judge(vm, { config, client, state, endpoint }));
    rows.push(rowOf(vm, judged, config));
    if (performance.now() - toldMs < tellIntervalMs) continue;
    logger.info(`${rows.length} VMs read so far`);
    toldMs = performance.now();
  }
  return {
    endpoint,
    endpointUuid: client.uuid,
    listedAt,
    product: client.about.fullName,
    below,
    findings: findings.filter(({ level }) => level !== "ok"),
    vms: rows.sort(inOrderOfPaths()),
  };
}

interface Bench {
  readonly config: Config;
  readonly client: VsphereClient;
  readonly state: State | undefined;
  readonly endpoint: string;
}

function judge({ path, facts, datastores }: InventoryVm, bench: Bench): Finding[] {
  if (facts instanceof Error) return [problem(areaOf(facts), facts)];
  const { config, client, state, endpoint } = bench;
  const { instanceUuid, host } = facts;
  const at = { endpoint, ...(client.uuid === undefined ? {} : { endpointUuid: client.uuid }) };
  const identity = { ...at, instanceUuid, vmPath: path };
  const { reopen, full } = config;
  return [
    ...judgeVm(facts, config, []),
    ...judgeSpace(datastores, config),
    ...tried("vm", () => checkCutOver(state, identity, reopen)),
    ...tried("vm", () => checkConverted(state, identity, full || reopen)),
    ...judgeVersions(client.about, host, undefined),
    ...judgeGuest(facts, config),
  ];
}

/** VMs of one folder stand together, before those of the folders in it; `vm2` before `vm10`. */
function inOrderOfPaths(): (a: InventoryRow, b: InventoryRow) => number {
  const { compare } = new Intl.Collator("en", { numeric: true });
  const order = (a: string, b: string) => compare(a, b) || (a < b ? -1 : Number(a > b));
  return (a, b) => {
    const [left, right] = [a.vm_path.split("/"), b.vm_path.split("/")];
    const [name, otherName] = [left.pop()!, right.pop()!];
    for (let at = 0; at < Math.max(left.length, right.length); at++) {
      const found = order(left[at] ?? "", right[at] ?? "");
      if (found !== 0) return found;
    }
    return order(name, otherName);
  };
}
