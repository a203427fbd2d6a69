/** Bringing the VM to rest: the only place of migratekit that changes a VM's power state. */
import { setTimeout as sleep } from "node:timers/promises";
import { MigratekitError, messageOf } from "../../errors.ts";
import { formatDuration } from "../../text.ts";
import type { PowerState } from "../../vmware/vm-details.ts";
import type { HeldVm, SiteContext } from "../vm/held-vm.ts";
import type { Site } from "../vm/site.ts";

const pollMs = 1000;

/**
 * Whether a shutdown can be expected to work, asked before anything is copied.
 * @throws MigratekitError `vm-unsuitable`, `shutdown-failed`, `vsphere-permission`
 */
export async function checkShutdown({ site, config, logger }: SiteContext): Promise<void> {
  const { vm, client } = site;
  if (vm.powerState === "suspended") {
    throw new MigratekitError("vm-unsuitable", `${vm.name} is suspended`, {
      remedy: "Resume it, so that its guest can be shut down; then run the cutover again.",
    });
  }
  if (vm.powerState === "poweredOff") return;
  if (!vm.toolsRunning && !config.forcePowerOff) {
    throw new MigratekitError(
      "shutdown-failed",
      `VMware Tools do not run in ${vm.name}, so its guest cannot be asked to shut down`,
      { remedy: "Start Tools, or shut the guest down by hand and run the cutover then." },
    );
  }
  const privilege = "VirtualMachine.Interact.PowerOff";
  const missing = await client.missingPrivileges(vm.moref, [privilege]).catch((error: unknown) => {
    logger.debug(`the privilege ${privilege} could not be asked for: ${messageOf(error)}`);
    return [];
  });
  if (missing.length === 0) return;
  throw new MigratekitError(
    "vsphere-permission",
    `the account may not shut ${vm.name} down (privilege ${privilege})`,
  );
}

export interface Shutdown {
  /** Whether the guest was asked, and may act on it later. */
  asked: boolean;
  forced: boolean;
}

/**
 * Asks the guest to shut down and waits until the VM is off. Only with `--force-power-off`, and
 * only after `--shutdown-timeout`, it is powered off hard. `progress` says at any time how far it got.
 * @throws MigratekitError `shutdown-failed`, `vsphere-…`; the signal's reason
 */
export async function shutDown(
  context: SiteContext & Pick<HeldVm, "reporter">,
  progress: Shutdown,
): Promise<void> {
  const { config, logger, signal, site, reporter } = context;
  const { client, vm } = site;
  let deadlineMs = performance.now() + config.shutdownTimeout;
  const isOff = async () => (await client.readPowerState(vm.moref)) === "poweredOff";
  logger.info(`asking the guest of ${vm.name} to shut down`);
  for (let refusal: string | undefined; ; ) {
    signal.throwIfAborted();
    if (!progress.asked) {
      refusal = await ask(context, progress, refusal);
      // It may have taken long until the guest could be asked; its own time begins now.
      if (progress.asked) deadlineMs = performance.now() + config.shutdownTimeout;
    }
    if (await isOff()) return;
    const leftMs = deadlineMs - performance.now();
    if (leftMs <= 0) break;
    reporter.stage("Discover", "waiting for the guest to shut down");
    await sleep(Math.min(pollMs, leftMs), undefined, { signal }).catch(() => {});
  }
  const waited = formatDuration(config.shutdownTimeout / 1000);
  if (!config.forcePowerOff) {
    throw new MigratekitError(
      "shutdown-failed",
      `the guest of ${vm.name} was asked to shut down and was not down after ${waited}`,
    );
  }
  logger.warn(`the guest of ${vm.name} was not down after ${waited}: powering the VM off`);
  signal.throwIfAborted();
  progress.forced = true;
  // Not to be interrupted: what became of it must be known.
  await client.powerOff(vm.moref);
  if (await isOff()) return;
  throw new MigratekitError("shutdown-failed", `${vm.name} was powered off and is not off`);
}

/** Gives why the request was refused, if it was; tried again only where force would follow. */
async function ask(
  { site, config, logger, signal }: SiteContext,
  progress: Shutdown,
  refusedBefore: string | undefined,
): Promise<string | undefined> {
  const { client, vm } = site;
  try {
    // An answer that is lost leaves it open whether the guest heard.
    progress.asked = true;
    await client.shutdownGuest(vm.moref, signal);
    return undefined;
  } catch (error) {
    if ((await client.readPowerState(vm.moref)) === "poweredOff") return undefined;
    const refused = error instanceof MigratekitError && error.code !== "vsphere-unreachable";
    if (!refused) throw error;
    progress.asked = false;
    if (!config.forcePowerOff) {
      throw new MigratekitError("shutdown-failed", messageOf(error), { cause: error });
    }
    if (refusedBefore === undefined) logger.warn(messageOf(error));
    return messageOf(error);
  }
}

const readTimeoutMs = 15_000;

/** What an operator must know when a cutover ends early. Never rejects. */
export async function describePower(
  { client, vm }: Site,
  shutdown: Shutdown,
): Promise<{ state: PowerState | "unknown"; text: string }> {
  const timeout = sleep(readTimeoutMs, "unknown" as const, { ref: false });
  const state = await Promise.race([
    client.readPowerState(vm.moref).catch(() => "unknown" as const),
    timeout,
  ]);
  return { state, text: `${vm.name} ${stateText(state, shutdown)}` };
}

function stateText(state: PowerState | "unknown", { asked, forced }: Shutdown): string {
  if (state === "poweredOff") {
    return (
      "is powered off, and its last sync is not complete: run the cutover again (it goes straight " +
      "to the last sync), or power the VM on to go back to it"
    );
  }
  if (state === "unknown") {
    const told = asked || forced ? "it was told to shut down" : "it was not told to shut down";
    return `is in an unknown power state (vSphere does not answer); ${told}`;
  }
  const now = state === "poweredOn" ? "is still powered on" : "is suspended";
  return asked
    ? `${now}, but its guest was asked to shut down and may still do so`
    : `${now} and was not told to shut down`;
}
