/** `check --deploy`: everything that a cutover to CloudStack needs, asked for at once; nothing is made or changed. */
import type { CloudStack, Instance } from "../../../cloudstack/cloudstack.ts";
import { usedCommands } from "../../../cloudstack/commands.ts";
import { type Config, requireSettings } from "../../../config.ts";
import { MigratekitError } from "../../../errors.ts";
import { isLoopback } from "../../../nbd/target/uri.ts";
import { openCloudStack } from "../../cloud.ts";
import { type Finding, ok, probe, problem, warning, warningsOf } from "../finding.ts";
import type { DeployContext } from "./context.ts";
import { checkMachine, checkName, checkTemplate } from "./machine.ts";
import { checkNetworks } from "./networks.ts";

/** Never rejects but with the signal's reason. */
export async function checkDeploy(
  config: Config,
  vm: DeployContext["vm"],
  signal: AbortSignal,
): Promise<Finding[]> {
  if (!config.deploy) return [];
  const ask = (look: () => Promise<Finding[]>) => probe("cloudstack", signal, look);
  const [missing] = await ask(async () => {
    requireSettings(
      config,
      ...(["cloudstack-endpoint", "cloudstack-api-key", "cloudstack-secret-key"] as const),
      ...(["cloudstack-offering", "cloudstack-template"] as const),
    );
    return [];
  });
  if (missing) return [missing];
  const cloud = openCloudStack({ config, logger: warningsOf(() => {}), signal });
  const context = { config, cloud, vm };
  // First alone: without the key or the zone all others fail for the same reason.
  const login = await ask(() => checkLogin(context));
  if (login.some(({ level }) => level === "problem")) return login;
  const found = await Promise.all([
    ask(() => checkRole(context)),
    ask(() => checkAppliance(context)),
    ask(() => checkTemplate(context)),
    ask(() => checkMachine(context)),
    ask(() => checkNetworks(context)),
    ask(() => checkName(context)),
  ]);
  return [...login, ...found.flat()];
}

async function checkLogin({ config, cloud }: DeployContext): Promise<Finding[]> {
  const { name, securityGroups } = await cloud.zone();
  const { version, mayExpunge } = await cloud.capabilities();
  const findings = [ok("cloudstack", `CloudStack ${version}, zone ${name}`)];
  const { protocol, hostname } = new URL(config.cloudstackEndpoint!);
  if (protocol === "http:" && !isLoopback(hostname.replace(/^\[|\]$/g, ""))) {
    const message = `the API key crosses the network in the clear to ${config.cloudstackEndpoint}`;
    findings.push(warning("cloudstack", message, "Use the API's https address."));
  }
  if (securityGroups) {
    const message = `the zone ${name} has security groups, which nobody has tried with migratekit`;
    findings.push(warning("cloudstack", message, "Try it with a machine that nobody needs."));
  }
  if (!mayExpunge) {
    const message =
      "this account may not expunge: after a rollback the machine's name, MACs and addresses stay taken for a day or so";
    const remedy =
      "Have allow.user.expunge.recover.vm set for the account, or somebody at hand who expunges.";
    findings.push(warning("cloudstack", message, remedy));
  }
  return findings;
}

/** What the role lacks, all of it at once. */
async function checkRole({ cloud }: DeployContext): Promise<Finding[]> {
  const allowed = await cloud.allowedCommands().catch((error: unknown) => {
    if (error instanceof MigratekitError && error.code === "cloudstack-permission")
      return undefined;
    throw error;
  });
  if (allowed === undefined) {
    const message = "the key may not ask what its role allows (listApis)";
    return [warning("cloudstack", message, "Compare the role with docs/cloudstack.md.")];
  }
  const needed = Object.entries(usedCommands).filter(([, use]) => use !== "optional");
  const lacking = needed.map(([name]) => name).filter((name) => !allowed.has(name.toLowerCase()));
  if (lacking.length === 0) return [ok("cloudstack", "the role allows every command that is used")];
  const message = `the account's role does not allow ${lacking.join(", ")}`;
  return [problem("cloudstack", new MigratekitError("cloudstack-permission", message))];
}

async function checkAppliance({ config, cloud }: DeployContext): Promise<Finding[]> {
  const appliance = await cloud.appliance(config.cloudstackAppliance);
  const { name, id, state, account } = appliance;
  const findings: Finding[] = [];
  if (state !== "Running") {
    const message = `the appliance ${name} is ${state}: it exports nothing`;
    findings.push(problem("cloudstack", new MigratekitError("cloudstack-conflict", message)));
  }
  findings.push(ok("cloudstack", `appliance: ${name} (${id}), of account ${account}`));
  return [...findings, ...(await checkController(cloud, appliance))];
}

/** Deployment sets it; whether the account may is asked here, with the appliance's hypervisor. */
async function checkController(cloud: CloudStack, { id }: Instance): Promise<Finding[]> {
  const options = await cloud.detailOptions(id);
  if (options === undefined) {
    const message = "the key may not ask whether it can choose the disks' controller";
    const remedy =
      "Allow listDetailOptions, or take a template whose OS type has virtio disks: it decides then.";
    return [warning("cloudstack", message, remedy)];
  }
  const values = options.rootDiskController;
  if (values?.includes("virtio"))
    return [ok("cloudstack", `the disks' controller can be chosen: ${values.join(", ")}`)];
  const message =
    values === undefined
      ? "the account may not choose the disks' controller (rootDiskController)"
      : `CloudStack offers no virtio controller, only ${values.join(", ")}`;
  return [
    problem(
      "cloudstack",
      new MigratekitError("cloudstack-permission", message, {
        remedy: "Have rootDiskController taken out of user.vm.denied.details.",
      }),
    ),
  ];
}
