/** The part of a preflight that asks vSphere. Reads only; nothing is remembered. */
import { connect } from "node:net";
import type { Logger } from "pino";
import { type Config, requireSettings } from "../../config.ts";
import { MigratekitError, messageOf } from "../../errors.ts";
import { sizeText } from "../../nbd/target/target.ts";
import type { VmDetails } from "../../vmware/vm-details.ts";
import { VsphereClient } from "../../vmware/vmware.ts";
import { findLeftovers } from "../cycle/snapshot.ts";
import { flatten, snapshotOwner } from "../cycle/snapshot-names.ts";
import { connectOptions, diskIdOf, endpointText, obstacleToSnapshot } from "../vm/site.ts";
import { type Finding, ok, problem, warning } from "./finding.ts";

/** @throws MigratekitError `usage`, `vsphere-…` */
export async function connectReadOnly(
  config: Config,
  pinned: string | undefined,
  logger: Logger,
  signal: AbortSignal,
): Promise<VsphereClient> {
  requireSettings(config, "vmware-endpoint", "vmware-username", "vmware-password");
  return await VsphereClient.connect({
    ...connectOptions(config, pinned, logger, signal),
    requestTimeoutMs: 30_000,
    outageMs: 5_000,
  });
}

/** Endpoint, trust in its certificate, licence. */
export async function checkEndpoint(client: VsphereClient, config: Config): Promise<Finding[]> {
  const { about, certificate } = client;
  const { trust, sha256 } = certificate;
  const found = [ok("vsphere", `${endpointText(config)}: ${about.fullName}, login accepted`)];
  if (trust === "first-use") {
    found.push(
      warning(
        "vsphere",
        `a run would trust its certificate on first use and remember it: SHA-256 ${sha256}`,
        `Compare it with the host's own; --vmware-thumbprint ${sha256} makes sure.`,
      ),
    );
  } else if (trust === "insecure") {
    found.push(
      warning(
        "vsphere",
        "--vmware-insecure: the certificate is not checked, so anybody between could have the password",
        `Compare it with the host's own and give --vmware-thumbprint ${sha256} instead.`,
      ),
    );
  } else {
    found.push(ok("vsphere", `certificate trusted by ${trust}: SHA-256 ${sha256}`));
  }
  // Most accounts may not see licences; that is no finding.
  const editions = await client.readLicenseEditions().catch(() => []);
  if (editions.length > 0 && editions.every((edition) => edition === "esxBasic")) {
    const free = new MigratekitError(
      "vsphere-fault",
      "the licence is the free hypervisor's, whose host refuses snapshots over the API",
      { remedy: "Go through a vCenter, or license the host." },
    );
    found.push(problem("vsphere", free));
  }
  return found;
}

/** The VM itself, its tracking, Tools and snapshots. */
export async function checkVm(
  client: VsphereClient,
  vm: VmDetails,
  config: Config,
  deadRunIds: ReadonlySet<string>,
  logger: Logger,
): Promise<Finding[]> {
  const { name, moref, hardwareVersion, powerState, host } = vm;
  const found = [
    ok(
      "vm",
      `${name} (${moref}): ${powerState}, hardware version ${hardwareVersion}, ` +
        `${vm.disks.length} disk(s), on host ${host.name || "unknown"}`,
    ),
    ...trackingFindings(vm),
  ];
  const warn = (message: string, remedy: string) => found.push(warning("vm", message, remedy));
  if (vm.template) {
    const template = new MigratekitError("vm-unsuitable", `${name} is a template`, {
      remedy: "Convert it to a virtual machine, or deploy one from it.",
    });
    found.push(problem("vm", template));
  }
  if (config.quiesceSnapshot && powerState === "poweredOn" && !vm.toolsRunning) {
    warn(
      "VMware Tools do not run in the guest: snapshots are crash-consistent only",
      "Start VMware Tools, or say --no-quiesce-snapshot.",
    );
  }
  if (vm.encrypted) {
    warn(
      "the VM is encrypted: the target will hold its content in the clear",
      "Make sure that the target volume is protected; the account needs Cryptographer.Access.",
    );
  }
  if (vm.consolidationNeeded) {
    warn(
      "vSphere says that its disks need consolidation",
      "Consolidate them in the vSphere client.",
    );
  }
  const query = { client, vmMoref: moref, deadRunIds, logger };
  const leftovers = await findLeftovers(query);
  for (const { name: leftover, moref: snapshot } of leftovers) {
    warn(
      `the snapshot ${leftover} (${snapshot}) was left by a run that died`,
      "The next run removes it, as does 'migratekit cleanup'.",
    );
  }
  const others = flatten(vm.snapshots).filter((snapshot) => !snapshotOwner(snapshot));
  if (others.length > 0) {
    const names = others.map((snapshot) => JSON.stringify(snapshot.name)).join(", ");
    found.push(ok("vm", `${others.length} snapshot(s) of others, left alone: ${names}`));
  }
  return found;
}

function trackingFindings(vm: VmDetails): Finding[] {
  if (!vm.changeTrackingSupported) {
    return [
      warning(
        "vm",
        `it cannot track changed blocks (hardware version ${vm.hardwareVersion}): every run copies all`,
        "Upgrade its virtual hardware to version 7 or newer.",
      ),
    ];
  }
  if (vm.changeTrackingEnabled) return [ok("vm", "changed block tracking is on")];
  const off = "changed block tracking is off; the run turns it on";
  if (vm.snapshots.length === 0) return [ok("vm", off)];
  return [
    warning(
      "vm",
      `${off}, which may not take effect while the VM has snapshots`,
      "Remove the VM's snapshots before the first run.",
    ),
  ];
}

/** Each disk as it is, and what keeps it out of a snapshot. */
export function checkDisks(vm: VmDetails, skip: readonly number[]): Finding[] {
  const found: Finding[] = [];
  for (const disk of vm.disks) {
    const tracked = disk.changeId === undefined ? "not tracked yet" : "tracked";
    const provisioning = disk.thin === undefined ? "" : disk.thin ? "thin " : "thick ";
    const text =
      `${diskIdOf(disk)} (${disk.label}): ${sizeText(disk.capacityBytes)}, ${provisioning}${disk.backing}, ` +
      `${disk.diskMode}, ${tracked}, ${disk.fileName}`;
    const obstacle = obstacleToSnapshot(disk);
    if (skip.includes(disk.key)) {
      found.push(ok("disk", `${text}; left out by --skip-disks`));
    } else if (obstacle === undefined) {
      found.push(ok("disk", text));
      if (vm.changeTrackingEnabled && vm.changeTrackingSupported && disk.changeId === undefined) {
        found.push(
          warning(
            "disk",
            `${diskIdOf(disk)} has no change ID although tracking is on: it is copied in full`,
            "It gets one with the next snapshot; if not, reset tracking of the VM (KB 2139574).",
          ),
        );
      }
    } else {
      const error = new MigratekitError(
        "vm-unsuitable",
        `${diskIdOf(disk)} (${disk.label}) ${obstacle}: a snapshot does not hold it`,
        { remedy: `Change the disk, or leave it out with --skip-disks ${disk.key}.` },
      );
      found.push(problem("disk", error));
    }
  }
  return found;
}

/** On the VM or a folder above it; by their API names, as roles are made from scripts. */
const privileges = {
  snapshot: ["VirtualMachine.State.CreateSnapshot", "VirtualMachine.State.RemoveSnapshot"],
  tracking: "VirtualMachine.Config.ChangeTracking",
  disk: ["VirtualMachine.Provisioning.DiskRandomRead", "VirtualMachine.Provisioning.GetVmFiles"],
  encrypted: "Cryptographer.Access",
  cutover: "VirtualMachine.Interact.PowerOff",
} as const;

export async function checkPrivileges(client: VsphereClient, vm: VmDetails): Promise<Finding[]> {
  const needsTracking = vm.changeTrackingSupported && !vm.changeTrackingEnabled;
  const needed: string[] = [
    ...privileges.snapshot,
    ...privileges.disk,
    ...(needsTracking ? [privileges.tracking] : []),
    ...(vm.encrypted ? [privileges.encrypted] : []),
  ];
  const useful: string[] = [privileges.tracking, privileges.cutover].filter(
    (name) => !needed.includes(name),
  );
  const missing = await client.missingPrivileges(vm.moref, [...needed, ...useful]);
  const found: Finding[] = needed.map((name) =>
    missing.includes(name)
      ? problem("privileges", lacking(name))
      : ok("privileges", `${name} granted`),
  );
  for (const name of useful.filter((candidate) => missing.includes(candidate))) {
    const what = name === privileges.cutover ? "a cutover" : "turning tracking on again";
    found.push(
      warning(
        "privileges",
        `${name} is missing: ${what} would fail`,
        "Add it to the account's role on the VM's folder.",
      ),
    );
  }
  return found;
}

function lacking(privilege: string): MigratekitError {
  return new MigratekitError("vsphere-permission", `the account lacks ${privilege} on the VM`, {
    remedy: `Add ${privilege} to the account's role on the VM's folder.`,
    context: { privilegeId: privilege },
  });
}

const greetingTimeoutMs = 5000;

/** VDDK fetches data from the ESXi host's own name, whatever endpoint was logged in to. */
export async function checkHost(
  client: VsphereClient,
  vm: VmDetails,
  config: Config,
  signal: AbortSignal,
): Promise<Finding[]> {
  const isHost = client.about.apiType === "HostAgent";
  const name = isHost ? (config.vmwareEndpoint?.host ?? "") : vm.host.name;
  const port = config.vddkNfcPort;
  if (name === "") {
    return [
      warning(
        "host",
        "the name of the VM's ESXi host may not be read, so the way to it was not tried",
        `Grant System.Read on the host, or see to it that TCP port ${port} of it is open from here.`,
      ),
    ];
  }
  const answer = await greeting(name, port, signal);
  signal.throwIfAborted();
  if (answer === "greeted") return [ok("host", `${name}:${port} answers`)];
  if (answer === "silent") {
    return [
      warning(
        "host",
        `${name}:${port} accepts connections and says nothing for ${greetingTimeoutMs / 1000} s`,
        "Check the name resolution of the ESXi host, which looks up who connects.",
      ),
    ];
  }
  throw new MigratekitError(
    "source-unreachable",
    `the ESXi host ${name} that holds the VM cannot be reached on port ${port}: ${answer}`,
    { context: { host: name, port } },
  );
}

/** `greeted`, `silent`, or why there is no connection. */
async function greeting(host: string, port: number, signal: AbortSignal): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const socket = connect({ host, port });
  let connected = false;
  const timer = setTimeout(
    () => resolve(connected ? "silent" : `no answer within ${greetingTimeoutMs} ms`),
    greetingTimeoutMs,
  );
  const stop = () => resolve("interrupted");
  signal.addEventListener("abort", stop);
  socket.once("connect", () => {
    connected = true;
  });
  socket.once("data", () => resolve("greeted"));
  socket.once("error", (error) => resolve(messageOf(error)));
  socket.once("close", () => resolve(connected ? "it closes the connection at once" : "closed"));
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
    socket.destroy();
  }
}
