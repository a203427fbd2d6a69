import type { Repair } from "../conversion.ts";
import { filesIn, type RepairContext } from "./context.ts";

/** Where virt-v2v puts what the guest is to run once. */
const folder = "/usr/lib/virt-sysprep/scripts";
/** Those that fetch the QEMU guest agent from the network; without one they hold the first boot up for minutes. */
const wantsNetwork = /^5000-/;

export async function removeFirstBootScripts({ guestfish }: RepairContext): Promise<Repair[]> {
  const scripts = (await filesIn(guestfish, folder)).filter((name) => wantsNetwork.test(name));
  for (const name of scripts) await guestfish.run("rm", `${folder}/${name}`);
  if (scripts.length === 0) return [];
  return [{ name: "first-boot", detail: `removed ${scripts.join(", ")}, which want a network` }];
}
