/** What becomes of the VM at VMware where a cutover ends early. */
import { setTimeout as sleep } from "node:timers/promises";
import { messageOf } from "../../errors.ts";
import type { StoredDeployment } from "../../state/machine/deployments.ts";
import type { PowerState } from "../../vmware/vm-details.ts";
import type { HeldVm } from "../vm/held-vm.ts";
import type { Site } from "../vm/site.ts";
import type { Shutdown } from "./guest-shutdown.ts";

/** For people, and for `--json`. */
export interface PowerAtEnd {
  readonly state: PowerState | "unknown";
  readonly text: string;
}

/** `--power-on-source`. Never rejects: that it failed is told. */
export async function powerOnAgain(
  { site, logger }: Pick<HeldVm, "site" | "logger">,
  shutdown: Shutdown,
): Promise<void> {
  const { client, vm } = site;
  try {
    if ((await client.readPowerState(vm.moref)) !== "poweredOff") return;
    await client.powerOn(vm.moref);
    shutdown.poweredOn = true;
    logger.info(`${vm.name} was powered on again (--power-on-source)`);
  } catch (error) {
    logger.error(`${vm.name} could not be powered on: ${messageOf(error)}`);
  }
}

const readTimeoutMs = 15_000;

/** What an operator must know of both machines when a cutover ends early. Never rejects. */
export async function describePower(
  { client, vm }: Site,
  shutdown: Shutdown,
  underWay?: StoredDeployment,
): Promise<PowerAtEnd> {
  const timeout = sleep(readTimeoutMs, "unknown" as const, { ref: false });
  const state = await Promise.race([
    client.readPowerState(vm.moref).catch(() => "unknown" as const),
    timeout,
  ]);
  if (underWay) return { state, text: betweenText(vm.name, state, underWay) };
  return { state, text: `${vm.name} ${stateText(state, shutdown)}` };
}

/** The way back did not end, so nobody may run the source yet. */
function betweenText(
  name: string,
  state: string,
  { goal, instanceName }: StoredDeployment,
): string {
  const way = goal === "deploy" ? "on their way to" : "on their way back from";
  const on = goal === "deploy" ? "the same cutover goes on, or " : "";
  return (
    `${name} is ${state} in vSphere and must stay off: its volumes are ${way} ${instanceName} in CloudStack; ` +
    `${on}'migratekit rollback' goes back`
  );
}

function stateText(
  state: PowerState | "unknown",
  { asked, forced, synced, poweredOn }: Shutdown,
): string {
  if (state === "poweredOff") {
    const what = synced
      ? "its targets hold its last state, not converted, and nothing runs from them: run the cutover again (it syncs and converts again)"
      : "its last sync is not complete: run the cutover again (it goes straight to the last sync)";
    return `is powered off, and ${what}, or power the VM on to go back to it`;
  }
  if (state === "unknown") {
    const told = asked || forced ? "it was told to shut down" : "it was not told to shut down";
    return `is in an unknown power state (vSphere does not answer); ${told}`;
  }
  if (poweredOn) {
    return "is powered on again, as --power-on-source asked for: run the cutover again when it may be down again";
  }
  const now = state === "poweredOn" ? "is still powered on" : "is suspended";
  return asked
    ? `${now}, but its guest was asked to shut down and may still do so`
    : `${now} and was not told to shut down`;
}
