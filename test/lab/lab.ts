// `npm run lab`: the laboratory in the foreground, until a signal, or until its parent is gone.
//   --json        one JSON line when ready, instead of the explanation
//   --targets K   stunnel (as on the appliance), direct or qemu-nbd
//   --no-boot     machines of CloudStack hold their volumes, and do not run

import { parseArgs } from "node:util";
import { startLabControl } from "./control.ts";
import { describeLab, type LabDescription } from "./describe.ts";
import { preferPort } from "./ports.ts";
import { statusOf } from "./process-table.ts";
import { cliCommand } from "./run-cli.ts";
import { startLab } from "./start-lab.ts";
import type { TargetKind } from "./targets-of-vms.ts";

const controlPort = 8083;
const parentCheckMs = 500;

function readOptions() {
  const { values } = parseArgs({
    options: {
      json: { type: "boolean" },
      targets: { type: "string", default: "stunnel" },
      "no-boot": { type: "boolean" },
    },
  });
  if (!["stunnel", "direct", "qemu-nbd"].includes(values.targets)) {
    console.error(`--targets takes stunnel, direct or qemu-nbd, not ${values.targets}`);
    process.exit(2);
  }
  const { json, targets, "no-boot": noBoot } = values;
  return { json: json === true, targets: targets as TargetKind, boots: noBoot !== true };
}

/** Who started us: under npm there is a shell between, which outlives npm. */
function starters(): string {
  const parent = process.ppid;
  return process.env.npm_lifecycle_event ? `${parent} ${statusOf(parent)?.parentPid}` : `${parent}`;
}

/** Resolves to the exit code once the lab shall end. */
function waitForTheEnd(): Promise<number> {
  const startedBy = starters();
  return new Promise((resolve) => {
    for (const [signal, number] of [
      ["SIGINT", 2] as const,
      ["SIGTERM", 15],
      ["SIGHUP", 1],
    ] as const)
      process.on(signal, () => resolve(128 + number));
    setInterval(() => {
      if (starters() !== startedBy) resolve(0);
    }, parentCheckMs);
  });
}

function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

function exportLines(environment: Record<string, string>): string {
  const defaults: Record<string, string> = {
    MIGRATEKIT_VMA_URL: "http://127.0.0.1:8081",
    CLOUDSTACK_API_URL: "http://127.0.0.1:8082",
    NBD_LOCAL_PORT: "10808",
  };
  return Object.entries(environment)
    .filter(([name, value]) => defaults[name] !== value)
    .map(([name, value]) => `export ${name}=${quote(value)}`)
    .join("\n");
}

function explain(lab: LabDescription): string {
  const [vm] = lab.vms;
  const others = lab.vms
    .slice(1)
    .map(({ path, exportName, disks }) => `  ${path}  (${disks.length} disks: ${exportName})`);
  return `
The laboratory is ready. In another terminal, in this folder:

${exportLines(lab.environment)}

${cliCommand.map((part) => quote(part.replace(`${process.cwd()}/`, ""))).join(" ")} migrate \\
  --vmware-endpoint ${lab.endpoint} \\
  --vmware-username ${lab.username} \\
  --vmware-password ${quote(lab.password)} \\
  --vmware-path ${quote(vm!.path)} \\
  --nbd-export-name ${quote(vm!.exportName)} \\
  --job-id job-20250906-123456 \\
  --debug

curl ${lab.vmaUrl}/api/v1/progress/job-20250906-123456     what the VMA API knows
curl '${lab.controlUrl}/compare?vm=${vm!.name}'            target against snapshot, by cmp
curl -d '{"vm":"${vm!.name}","key":2000,"seed":7,"writes":20}' ${lab.controlUrl}/guest/random
                                                        the guest writes; migrate again
curl ${lab.controlUrl}/                                 everything else that can be done

${explainCloud(lab)}
Thumbprint ${lab.thumbprintSha1}
Other machines:
${others.join("\n")}

Ctrl-C ends it and removes ${lab.dir}.`;
}

function explainCloud({ cloudStack, controlUrl }: LabDescription): string {
  if (!cloudStack) return "";
  const { endpoint, apiKey, secretKey, appliance, deviceFolder } = cloudStack;
  const keys = {
    MIGRATEKIT_CLOUDSTACK_ENDPOINT: endpoint,
    MIGRATEKIT_CLOUDSTACK_API_KEY: apiKey,
    MIGRATEKIT_CLOUDSTACK_SECRET_KEY: secretKey,
    MIGRATEKIT_CLOUDSTACK_APPLIANCE: appliance,
  };
  return `CloudStack, with the appliance's disks at ${deviceFolder}:

${exportLines(keys)}

curl ${controlUrl}/cloudstack     its machines and volumes; /console?vm=NAME, /calls, /fault …
`;
}

const { json, targets, boots } = readOptions();
const end = waitForTheEnd();
let exitCode: number;
{
  await using lab = await startLab({ targets, wellKnownPorts: true, cloudStack: { boots } });
  await using control = await startLabControl(lab, await preferPort(controlPort));
  const description = describeLab(lab, control.url);
  console.log(json ? JSON.stringify(description) : explain(description));
  exitCode = await end;
  if (!json) console.log("\nEnding the laboratory.");
}
process.exit(exitCode);
