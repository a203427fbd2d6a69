/** Whether a Windows guest boots, and on what hardware: judged by facts alone. */
import type { Finding } from "../conversion.ts";
import type { WindowsDriver, WindowsFacts } from "../inspect/windows-facts.ts";
import { check } from "./finding.ts";
import type { Controller } from "./linux.ts";

export interface WindowsJudgement {
  readonly controller: Controller;
  readonly nicModel: "virtio" | "e1000";
  readonly machine: "pc" | "q35";
  readonly findings: readonly Finding[];
}

/** Windows Server 2025 and Windows 11 24H2; they stop on the older chip set. */
const q35Build = 26_100;
const controllers = { viostor: "virtio", vioscsi: "scsi" } as const;

export function judgeWindows(facts: WindowsFacts): WindowsJudgement {
  const findings: Finding[] = [];
  const working = facts.drivers.find((driver) => problemOf(driver) === undefined);
  if (working === undefined) findings.push(noDriver(facts));
  if (facts.hibernated) {
    findings.push(check("will-not-boot", "Windows is hibernated, or was shut down by fast start"));
  }
  return {
    controller: working === undefined ? "sata" : controllers[working.name],
    nicModel: facts.hasNetDriver ? "virtio" : "e1000",
    machine: facts.build !== undefined && facts.build >= q35Build ? "q35" : "pc",
    findings,
  };
}

function problemOf({ name, start, hasFile, isBound }: WindowsDriver): string | undefined {
  if (start !== 0) return `${name} is not started at boot (Start is ${start ?? "not set"})`;
  if (!hasFile) return `${name}.sys is not there`;
  return isBound ? undefined : `${name} is bound to no device`;
}

function noDriver({ drivers }: WindowsFacts): Finding {
  const problems = drivers.map(problemOf).join("; ");
  const text = problems === "" ? "Windows has no virtio driver for its disks" : problems;
  return check("will-not-boot", text);
}
