/** Bringing the VM to rest: the only place of migratekit that shuts a VM down. */
import { setTimeout as sleep } from "node:timers/promises";
import { MigratekitError, messageOf } from "../../errors.ts";
import { formatDuration } from "../../text.ts";
import type { HeldVm, SiteContext } from "../vm/held-vm.ts";

const pollMs = 1000;

/**
 * Whether a shutdown can be expected to work, asked before anything is copied.
 * @throws MigratekitError `vm-unsuitable`, `shutdown-failed`, `vsphere-permission`
 */
export async function checkShutdown({ site, config, logger }: SiteContext): Promise<void> {
  const { vm, client } = site;
  const requirePrivilege = async (name: string, what: string) => {
    const privilege = `VirtualMachine.Interact.${name}`;
    const asked = client.missingPrivileges(vm.moref, [privilege]);
    const missing = await asked.catch((error: unknown) => {
      logger.debug(`the privilege ${privilege} could not be asked for: ${messageOf(error)}`);
      return [];
    });
    if (missing.length === 0) return;
    const text = `the account may not ${what} (privilege ${privilege})`;
    throw new MigratekitError("vsphere-permission", text);
  };
  if (config.powerOnSource) await requirePrivilege("PowerOn", `power ${vm.name} on`);
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
  await requirePrivilege("PowerOff", `shut ${vm.name} down`);
}

export interface Shutdown {
  /** Whether the guest was asked, and may act on it later. */
  asked: boolean;
  forced: boolean;
  /** The targets hold its last state. */
  synced: boolean;
  /** By us, after a failure. */
  poweredOn?: boolean;
}

/**
 * Asks the guest to shut down and waits until the VM is off. Only with `--force-power-off`, and
 * only after `--shutdown-timeout`, it is powered off hard. `progress` says at any time how far it got.
 * @throws MigratekitError `shutdown-failed`, `vsphere-…`; the signal's reason
 */
export async function shutDown(
  context: SiteContext & Pick<HeldVm, "reporter" | "lease">,
  progress: Shutdown,
): Promise<void> {
  const { config, logger, signal, site, reporter, lease } = context;
  const { client, vm } = site;
  await lease?.barrier(`shutting ${vm.name} down`);
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
  await lease?.barrier(`powering ${vm.name} off`);
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
