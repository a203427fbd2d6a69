// Any command on a machine of the laboratory, with the settings that `migrate` would get.

import { StateDatabase } from "../../src/state/database/database.ts";
import { JournalStore } from "../../src/state/journal.ts";
import { type CliResult, type CliRun, startCli } from "../lab/run-cli.ts";
import type { Lab, MigrateOptions } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";

const commonFlags = new Set(
  (
    "--vmware-endpoint --vmware-username --vmware-password-file --vmware-path " +
    "--vmware-thumbprint --state-dir"
  ).split(" "),
);

/** Connection flags and the state directory alone: what `cleanup` takes. */
export function connectionArgs(lab: Lab, vm: LabVm): string[] {
  const [, ...args] = lab.migrateArgs(vm);
  const kept: string[] = [];
  for (let at = 0; at < args.length; at += 2) {
    if (commonFlags.has(args[at]!)) kept.push(args[at]!, args[at + 1]!);
  }
  return kept;
}

export function startCommand(
  lab: Lab,
  command: string,
  vm: LabVm,
  options: MigrateOptions = {},
  env: Record<string, string> = {},
): CliRun {
  const args =
    command === "cleanup"
      ? [...connectionArgs(lab, vm), ...(options.extra ?? [])]
      : lab.migrateArgs(vm, options).slice(1);
  return startCli({
    args: [command, ...args],
    env: { CLOUDSTACK_API_URL: lab.oma.url, MIGRATEKIT_VDDK_NFC_PORT: nfcPort(lab), ...env },
  });
}

export async function runCommand(
  ...args: Parameters<typeof startCommand>
): Promise<CliResult & { json: <T>() => T }> {
  const result = await startCommand(...args).result;
  return { ...result, json: <T>() => JSON.parse(result.stdout) as T };
}

export function nfcPort(lab: Lab): string {
  return lab.nfc.endpoint.slice(lab.nfc.endpoint.lastIndexOf(":") + 1);
}

/** Whether a copy of a disk of the machine was begun and has not ended. */
export function hasJournal(lab: Lab, vm: LabVm): boolean {
  const { instanceUuid } = vm.record;
  const identity = { endpoint: lab.vcenter.endpoint, instanceUuid, vmPath: vm.path };
  using state = StateDatabase.openExisting(lab.stateDir);
  if (state === undefined) return false;
  const journals = new JournalStore(state);
  return vm.disks.some(({ record }) => journals.openJournal(identity, record.key) !== undefined);
}
