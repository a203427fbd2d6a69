/** UEFI for virtual machines: the code, and an NVRAM as a new machine has it. */
import { existsSync } from "node:fs";
import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { missing } from "../tools/tools.ts";

export interface FirmwareFiles {
  readonly code: string;
  /** The machine's own copy. */
  readonly nvram: string;
  /** The code locks its NVRAM away from the guest. */
  readonly secure: boolean;
}

interface Template {
  readonly code: string;
  readonly variables: string;
}

/** Where distributions have them: Debian and Ubuntu, the family of Red Hat, SUSE. */
const templates: Readonly<Record<"plain" | "secure", readonly Template[]>> = {
  plain: [
    pair("/usr/share/OVMF", "OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"),
    pair("/usr/share/OVMF", "OVMF_CODE.fd", "OVMF_VARS.fd"),
    pair("/usr/share/edk2/ovmf", "OVMF_CODE.fd", "OVMF_VARS.fd"),
    pair("/usr/share/qemu", "ovmf-x86_64-code.bin", "ovmf-x86_64-vars.bin"),
  ],
  // The variables hold Microsoft's keys.
  secure: [
    pair("/usr/share/OVMF", "OVMF_CODE_4M.secboot.fd", "OVMF_VARS_4M.ms.fd"),
    pair("/usr/share/OVMF", "OVMF_CODE.secboot.fd", "OVMF_VARS.ms.fd"),
    pair("/usr/share/edk2/ovmf", "OVMF_CODE.secboot.fd", "OVMF_VARS.secboot.fd"),
    pair("/usr/share/qemu", "ovmf-x86_64-smm-ms-code.bin", "ovmf-x86_64-smm-ms-vars.bin"),
  ],
};

function pair(folder: string, code: string, variables: string): Template {
  return { code: join(folder, code), variables: join(folder, variables) };
}

/** @throws MigratekitError `guest-tool-missing` */
export async function copyFirmware(secure: boolean, folder: string): Promise<FirmwareFiles> {
  const found = templates[secure ? "secure" : "plain"].find(
    ({ code, variables }) => existsSync(code) && existsSync(variables),
  );
  if (found === undefined) {
    const what = secure ? "UEFI firmware with Secure Boot" : "UEFI firmware";
    throw missing(`no ${what} for virtual machines is installed`, "OVMF");
  }
  const nvram = join(folder, "nvram.fd");
  await copyFile(found.variables, nvram);
  return { code: found.code, nvram, secure };
}
