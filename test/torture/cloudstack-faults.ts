/** Which faults of CloudStack's API strike a cutover or its way back. */

import type { CloudStackFault, CloudStackFaultName } from "../lab/cloudstack/api/faults.ts";
import type { Random } from "../random.ts";

const jobCommands = [
  ...["detachVolume", "attachVolume", "deployVirtualMachine"],
  ...["startVirtualMachine", "stopVirtualMachine", "destroyVirtualMachine"],
];
const writes = [...jobCommands, "deleteVolume"];
const reads = ["listVirtualMachines", "listVolumes", "queryAsyncJobResult", "listCapabilities"];

interface Kind {
  readonly name: CloudStackFaultName;
  readonly of: readonly string[];
  readonly values?: readonly number[];
}

const quick: readonly Kind[] = [
  { name: "lostAnswer", of: writes },
  { name: "lostAnswer", of: reads },
  { name: "slow", of: [...writes, ...reads], values: [300, 1_500] },
  { name: "html", of: reads },
  { name: "http503", of: reads },
  { name: "apiError", of: writes, values: [431, 530, 533, 535] },
  { name: "apiError", of: reads, values: [429, 530] },
  { name: "requestTwice", of: jobCommands },
  { name: "jobFails", of: jobCommands, values: [431, 530, 533] },
  { name: "jobFailsDone", of: jobCommands, values: [530] },
  { name: "jobVanishesDone", of: jobCommands },
  { name: "jobVanishesLate", of: jobCommands, values: [300, 1_500] },
  { name: "jobForgotten", of: jobCommands },
  { name: "slowJob", of: jobCommands, values: [300, 1_500] },
];

/** What was asked for may still come until it expires: nothing is asked again for a minute. */
const slow: readonly Kind[] = [
  { name: "lostRequest", of: writes },
  { name: "http503", of: writes },
  { name: "jobVanishes", of: jobCommands },
];

/** One or two. */
export function chooseFaults(random: Random, patient: boolean): CloudStackFault[] {
  const kinds = patient && random.chance(0.15) ? slow : quick;
  return Array.from({ length: 1 + random.below(2) }, (): CloudStackFault => {
    const { name, of, values } = random.pick(kinds);
    const value = values && random.pick(values);
    const command = random.pick(of);
    const skip = random.below(2);
    return { name, command, count: 1, skip, ...(value !== undefined && { value }) };
  });
}
