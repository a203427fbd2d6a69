// `npm run demo -- --boot`: a Debian guest as it comes from VMware is migrated while it writes, rehearsed,
// converted and started from its target. It ends with the guest's own words on its console.

import { randomBytes } from "node:crypto";
import { dirname } from "node:path";
import { guestDisks } from "../guests/debian/debian.ts";
import { saysPrefix } from "../guests/debian/recipe.ts";
import { GuestFiles, guest, guestKey, guestVm } from "../guests/guest-vm.ts";
import { dim, logText, title } from "./demo-report.ts";
import { startMachine } from "./guest-machine.ts";
import { startCli } from "./run-cli.ts";
import { type Lab, startLab } from "./start-lab.ts";

const mebibyte = 1_048_576;
const bootTimeoutMs = 600_000;

export type Check = (right: boolean, what: string) => void;

/** Everything lies in `folder`, which is the caller's. */
export async function demonstrateBoot(folder: string, check: Check): Promise<void> {
  console.log(title("A guest from VMware: Debian 12, with drivers for VMware's hardware alone"));
  console.log(dim("  it is built once, which takes some minutes, and kept in .lab/guests"));
  const [image] = await guestDisks("bios");
  const files = await GuestFiles.of(image!, folder);
  await using lab = await startLab({ vms: [guestVm("debian01", image!)], parentDir: folder });
  const vm = lab.vm("debian01");

  console.log(title("Full migration while it writes, then only what changed"));
  const full = command(lab, "migrate", check);
  await files.change(vm, "while-copied", randomBytes(4 * mebibyte));
  await full;
  await files.change(vm, "written-last", randomBytes(4 * mebibyte));
  await command(lab, "migrate", check);

  console.log(title("A rehearsal: would the cutover boot? The target is only read"));
  await command(lab, "rehearse", check, ["--boot"]);
  console.log(title("The conversion, all disks or none"));
  await command(lab, "convert", check);

  console.log(title("Started from its target, on virtio: what the guest says"));
  const target = lab.targets.disksOf(vm).find(({ key }) => key === guestKey)!;
  await using machine = await startMachine({
    ...{ hardware: "virtio", firmware: "bios", mac: guest.mac },
    disks: [{ path: target.targetFile }],
  });
  await machine.says(new RegExp(`${saysPrefix} ready`), bootTimeoutMs);
  const said = machine
    .console()
    .split(/\r?\n/)
    .filter((line) => line.startsWith(saysPrefix));
  for (const line of said) console.log(`  ${line}`);
  const says = (words: string) => said.includes(`${saysPrefix} ${words}`);
  check(says("begin written-last"), "it has what was written last");
  check(says("files OK"), "the checksums of its files are right");
  check(
    says(`nic ens192 ${guest.mac} up ${guest.address}`),
    "its card has the name and the address that it had",
  );
}

/** One run of the real command line, as an operator types it. */
async function command(lab: Lab, name: string, check: Check, more: readonly string[] = []) {
  const vm = lab.vm("debian01");
  const args =
    name === "migrate"
      ? lab.migrateArgs(vm)
      : [name, "--vmware-path", vm.path, "--state-dir", lab.stateDir, ...more];
  console.log(dim(`  $ migratekit ${name} … --vmware-path ${vm.path} ${more.join(" ")}`));
  const { code, stdout } = await startCli({
    args,
    env: { CLOUDSTACK_API_URL: lab.oma.url, TMPDIR: dirname(lab.dir) },
    inheritStderr: process.stderr.isTTY,
    onStderrLine: (line) => console.log(dim(`  ${logText(line)}`)),
  }).result;
  for (const line of stdout.trimEnd().split("\n")) console.log(`  ${line}`);
  check(code === 0, `migratekit ${name} ended with exit code ${code}`);
}
