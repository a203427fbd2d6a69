/** What the laboratory's control API can do with the cloud; paths below /cloudstack. */

import type { CloudStackFault, CloudStackFaultName } from "./api/faults.ts";
import type { CloudStackLab } from "./cloudstack.ts";
import type { ResourceLimits } from "./world/records.ts";

type Fields = Record<string, unknown>;
type Route = (cloud: CloudStackLab, fields: Fields) => unknown;

function instanceOf(cloud: CloudStackLab, { vm }: Fields) {
  const found = cloud.instances().find(({ id, name }) => id === vm || name === vm);
  if (!found) throw new Error(`no machine ${vm}`);
  return found;
}

export const cloudStackRoutes: Readonly<Record<string, Route>> = {
  "GET /": describeCloud,
  "GET /violations": (cloud) => cloud.violations,
  /** Every call with its parameters and outcome; no keys */
  "GET /calls": (cloud) => cloud.calls.calls,
  /** ?vm: what a running machine printed on its serial console */
  "GET /console": (cloud, fields) => ({
    console: cloud.domain(instanceOf(cloud, fields).id)?.console() ?? "",
  }),
  /** {name[, command, count, skip, value, text]}: see api/faults.ts */
  "POST /fault": (cloud, fields) => cloud.faults.add(fields as unknown as CloudStackFault),
  /** {[name]} */
  "POST /faults/clear": (cloud, { name }) =>
    cloud.faults.clear(name === undefined ? undefined : (String(name) as CloudStackFaultName)),
  /** The management server starts anew: jobs under way end without a result */
  "POST /restart": (cloud) => cloud.restart(),
  "POST /refuse": (cloud) => cloud.refuse(),
  "POST /accept": (cloud) => cloud.accept(),
  /** What the cleaner does with destroyed machines a day later */
  "POST /expunge": (cloud) => cloud.expungeDestroyed(),
  /** {account, user_vm, volume, snapshot, cpu, memory, primary_storage} */
  "POST /limits": (cloud, { account, ...limits }) =>
    cloud.setLimits(String(account), limits as Partial<ResourceLimits>),
};

/** What an operator types in, and what there is. */
export function describeCloud(cloud: CloudStackLab) {
  const { apiKey, secretKey } = cloud.account();
  const { zones, serviceOfferings, diskOfferings, templates, networks } = cloud.catalogue;
  const names = (items: readonly { name: string }[]) => items.map(({ name }) => name);
  return {
    ...{ endpoint: cloud.url, apiKey, secretKey, appliance: cloud.appliance.id },
    deviceFolder: cloud.deviceFolder,
    ...{ zones: names(zones), offerings: names(serviceOfferings), networks: names(networks) },
    ...{ diskOfferings: names(diskOfferings), templates: names(templates) },
    machines: cloud.instances(),
    volumes: cloud.volumes().map((volume) => ({ ...volume, file: cloud.volumeFile(volume.id) })),
    violations: cloud.violations,
  };
}
