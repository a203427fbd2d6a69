import type { Repair } from "../conversion.ts";
import { filesIn, type RepairContext } from "./context.ts";

const unitFolder = "/etc/systemd/system";
const isVmwareUnit =
  /^(open-vm-tools|vmtoolsd|vgauthd?|vmware-tools.*|run-vmblock.*)\.(service|mount)$/;
const isVmwareScript = /^[SK]\d\d(vmware-tools|open-vm-tools|vmtoolsd)/;

/** virt-v2v removes VMware Tools by the guest's package manager; what it leaves is started no more. */
export async function disableVmwareTools({ guestfish }: RepairContext): Promise<Repair[]> {
  const removed: string[] = [];
  const folders = (await filesIn(guestfish, unitFolder))
    .filter((name) => /\.(wants|requires)$/.test(name))
    .map((name) => `${unitFolder}/${name}`);
  for (const level of ["rc2.d", "rc3.d", "rc5.d"]) {
    folders.push(`/etc/${level}`, `/etc/rc.d/${level}`);
  }
  for (const folder of folders) {
    for (const name of await filesIn(guestfish, folder)) {
      if (!isVmwareUnit.test(name) && !isVmwareScript.test(name)) continue;
      await guestfish.run("rm", `${folder}/${name}`);
      removed.push(name);
    }
  }
  if (removed.length === 0) return [];
  const names = [...new Set(removed)].join(", ");
  return [{ name: "vmware-tools", detail: `${names}: not started any more` }];
}
