// `npm run demo -- --cloudstack`: a Debian guest on VMware's hardware becomes a machine of CloudStack in one
// command. It ends with the new machine's own words on its console, and how long it was down.

import { randomBytes } from "node:crypto";
import { dirname, join } from "node:path";
import { guestDisks } from "../guests/debian/debian.ts";
import { saysPrefix } from "../guests/debian/recipe.ts";
import { GuestFiles, guest, guestVm } from "../guests/guest-vm.ts";
import type { CloudStackLab } from "./cloudstack/cloudstack.ts";
import type { Check } from "./demo-boot.ts";
import { dim, good, logText, title } from "./demo-report.ts";
import { type Exporter, startExporter } from "./exporter.ts";
import { says } from "./guest-machine.ts";
import { startCli } from "./run-cli.ts";
import { type Lab, startLab } from "./start-lab.ts";

const mebibyte = 1_048_576;
const bootTimeoutMs = 600_000;

interface Site {
  readonly lab: Lab;
  readonly cloud: CloudStackLab;
  readonly exporter: Exporter;
  readonly check: Check;
}

/** What a cutover's document says, as far as it is shown. */
interface CutOver {
  readonly downtime_ms: number;
  readonly instance: { readonly name: string; readonly id: string; readonly alive_at: string };
}

/** Everything lies in `folder`, which is the caller's. */
export async function demonstrateCloudStack(folder: string, check: Check): Promise<void> {
  console.log(title("A guest from VMware: Debian 12, with drivers for VMware's hardware alone"));
  console.log(dim("  it is built once, which takes some minutes, and kept in .lab/guests"));
  const [image] = await guestDisks("bios");
  const files = await GuestFiles.of(image!, folder);
  await using lab = await startLab({
    ...{ vms: [guestVm("debian01", image!)], targets: "direct", parentDir: folder },
    cloudStack: {},
  });
  const vm = lab.vm("debian01");
  const cloud = lab.cloudStack!;
  const stateDir = join(lab.dir, "export");
  await using exporter = await startExporter(cloud, { stateDir });
  const site = { lab, cloud, exporter, check };
  console.log(`  vCenter     ${lab.vcenter.endpoint}, ${vm.path}, powered on`);
  console.log(`  CloudStack  ${cloud.url}; its host is a real QEMU`);
  console.log(`  appliance   migratekit export, 127.0.0.1:${exporter.port}`);

  console.log(title("CloudStack volumes are made, attached, and filled while the guest writes"));
  const full = command(site, "migrate");
  await files.change(vm, "while-copied", randomBytes(4 * mebibyte));
  await full;
  await files.change(vm, "written-last", randomBytes(4 * mebibyte));

  console.log(title("The cutover: last sync, conversion, deployment, in one command"));
  const stdout = await command(site, "cutover", [
    ...["--yes", "--convert", "--deploy", "--network", "VM Network=lan"],
    ...["--cloudstack-offering", "Small Instance", "--cloudstack-template", "seed"],
  ]);
  const { instance, downtime_ms } = JSON.parse(stdout) as CutOver;
  const readyAt = await listen(site, instance.id);
  const started = Date.parse(instance.alive_at);
  console.log(title("How long it was down"));
  console.log(
    `  from the guest's shutdown until CloudStack had it running: ${seconds(downtime_ms)}`,
  );
  const all = downtime_ms + Math.max(0, readyAt - started);
  console.log(`  ${good(`until it answered on its console: ${seconds(all)}`)}`);
  console.log(
    dim("  QEMU works without KVM here: conversion and boot take a tenth of it where KVM is"),
  );
}

/** What the new machine says of itself. Gives when it was up, in ms of Unix time. */
async function listen({ cloud, check }: Site, instanceId: string): Promise<number> {
  console.log(title("The machine in CloudStack: what the guest says"));
  const domain = cloud.domain(instanceId);
  if (domain === undefined) throw new Error("no machine runs in CloudStack");
  const { console: output, isAlive } = domain;
  await says({ output, isAlive }, new RegExp(`${saysPrefix} ready`), bootTimeoutMs);
  const readyAt = Date.now();
  const said = output()
    .split(/\r?\n/)
    .filter((line) => line.startsWith(saysPrefix));
  for (const line of said) console.log(`  ${line}`);
  const heard = (words: string) => said.includes(`${saysPrefix} ${words}`);
  check(heard("begin written-last"), "it has what was written last");
  check(heard("files OK"), "the checksums of its files are right");
  check(
    heard(`nic ens192 ${guest.mac} up ${guest.address}`),
    "its card has the name, the MAC and the address that it had",
  );
  const [machine, ...more] = cloud.instances();
  check(machine?.id === instanceId && more.length === 0, "it is the only machine that was made");
  check(cloud.violations.length === 0, `no volume was at two places ${cloud.violations.join()}`);
  return readyAt;
}

/** One run of the real command line, as an operator types it; gives its document. */
async function command(site: Site, name: string, more: readonly string[] = []): Promise<string> {
  const { lab, cloud, exporter, check } = site;
  const vm = lab.vm("debian01");
  const flags = ["--nbd-targets", "--nbd-port", "--nbd-export-name"];
  const source = lab.migrateArgs(vm).slice(1);
  const args = [
    ...[
      name,
      ...source.filter((arg, at) => ![arg, source[at - 1]].some((a) => flags.includes(a!))),
    ],
    ...["--nbd-port", String(exporter.port), "--cloudstack-volumes", "create"],
    ...["--cloudstack-disk-offering", "Custom Disk", ...more, "--json"],
  ];
  const shown = ["--cloudstack-volumes create", ...more].join(" ");
  console.log(dim(`  $ migratekit ${name} … --vmware-path ${vm.path} ${shown}`));
  const { code, stdout } = await startCli({
    args,
    env: { ...keysOf(cloud), CLOUDSTACK_API_URL: lab.oma.url, TMPDIR: dirname(lab.dir) },
    // The stages would fill the screen.
    onStderrLine: (line) => line.includes('"stage":') || console.log(dim(`  ${logText(line)}`)),
  }).result;
  check(code === 0, `migratekit ${name} ended with exit code ${code}`);
  return stdout;
}

/** So that they stand in nobody's list of processes. */
function keysOf(cloud: CloudStackLab): Record<string, string> {
  const { apiKey, secretKey } = cloud.account();
  return {
    MIGRATEKIT_CLOUDSTACK_ENDPOINT: cloud.url,
    MIGRATEKIT_CLOUDSTACK_API_KEY: apiKey,
    MIGRATEKIT_CLOUDSTACK_SECRET_KEY: secretKey,
    MIGRATEKIT_CLOUDSTACK_APPLIANCE: cloud.appliance.id,
  };
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
