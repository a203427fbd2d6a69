/** The checks that decide: facts read from the guest, then judged without it. */
import type { ConvertedHardware, Finding } from "../conversion.ts";
import type { Guestfish } from "../guestfish/guestfish.ts";
import type { Inspected } from "../inspect/inspect.ts";
import { readLinuxFacts } from "../inspect/linux-facts.ts";
import { readWindowsFacts } from "../inspect/windows-facts.ts";
import type { GuestHardware } from "../machine.ts";
import { judgeLinux } from "./linux.ts";
import { judgeMachine } from "./machine.ts";
import { readMachineFacts } from "./machine-facts.ts";
import { judgeWindows } from "./windows.ts";

export interface Checked {
  readonly hardware: ConvertedHardware;
  readonly findings: readonly Finding[];
}

export async function checkGuest(
  guestfish: Guestfish,
  inspected: Inspected,
  hardware: GuestHardware,
): Promise<Checked> {
  const judgement = await judge(guestfish, inspected);
  const machineFacts = await readMachineFacts(guestfish, inspected, hardware);
  const { firmware, secureBoot, nics } = hardware;
  return {
    hardware: {
      ...{ controller: judgement.controller, firmware, secureBoot },
      machine: firmware === "uefi" ? "q35" : judgement.machine,
      nics: nics.map(({ mac }) => ({ mac, model: judgement.nicModel })),
    },
    findings: [...judgement.findings, ...judgeMachine(machineFacts)],
  };
}

async function judge(guestfish: Guestfish, inspected: Inspected) {
  if (inspected.system.os === "windows") {
    return judgeWindows(await readWindowsFacts(guestfish, inspected));
  }
  return { machine: "pc" as const, ...judgeLinux(await readLinuxFacts(guestfish, inspected)) };
}
