/** `--keep-new`: what the machine in CloudStack left on its volumes, copied to volumes of their own. */
import { MigratekitError } from "../../errors.ts";
import { prepareTargetTls } from "../../nbd/target/tls.ts";
import type { StoredDeployment } from "../../state/machine/deployments.ts";
import { withUndo } from "../../undo.ts";
import { openCloudStack } from "../cloud.ts";
import { fillClone, provideClone, type ReturningVm } from "../deploy/deploy.ts";
import { openEngine } from "../engine.ts";
import { lastTargetUri, tlsOptionsOf } from "../target-tls.ts";
import { volumeTags } from "../volumes/volumes.ts";

export interface KeptVolume {
  readonly disk_id: string;
  readonly name: string;
  readonly id: string;
}

/** Whose copy a volume is: one of an earlier rollback is not written over. */
const keptTag = "migratekit-kept";

/** Before anything is undone. @throws MigratekitError `cloudstack-conflict` where a name is taken */
export async function requireFreeNames(
  vm: ReturningVm,
  stored: StoredDeployment,
  prefix: string,
): Promise<void> {
  const cloud = openCloudStack(vm);
  for (const { deviceKey } of stored.volumes) {
    const taken = await cloud.findVolume(nameOf(prefix, deviceKey));
    if (taken === undefined || taken.tags[keptTag] === stored.runId) continue;
    throw new MigratekitError(
      "cloudstack-conflict",
      `--keep-new ${prefix}: there is a volume ${taken.name} (${taken.id}) already`,
      { remedy: "Give another name." },
    );
  }
}

/** The volumes are at the appliance, as the machine left them. Done again from its beginning after a kill. */
export async function keepCopies(
  vm: ReturningVm,
  stored: StoredDeployment,
  prefix: string,
): Promise<KeptVolume[]> {
  const { config, identity, logger, signal } = vm;
  const { applianceId } = stored;
  const cloud = openCloudStack(vm);
  const options = tlsOptionsOf(vm);
  return await withUndo(logger, async (undo) => {
    const engine = undo.use("stop the copy engine", openEngine(config, logger));
    const kept: KeptVolume[] = [];
    for (const { deviceKey, id } of stored.volumes) {
      const uri = lastTargetUri(vm, deviceKey);
      const original = await cloud.volume(id);
      if (uri === undefined || original === undefined) throw lost(deviceKey, id);
      await using tls = await prepareTargetTls(options, [uri]);
      const name = nameOf(prefix, deviceKey);
      const tags = {
        [volumeTags.disk]: `kept of ${identity.instanceUuid}`,
        [keptTag]: stored.runId,
      };
      const copy = await provideClone({ cloud, applianceId, logger }, original, { name, tags });
      const endpoint = { uri, ...tls.endpointFields };
      const context = { cloud, applianceId, engine, logger, signal };
      await fillClone(context, { ...endpoint, connections: 1 }, endpoint, copy);
      await cloud.detachVolume(copy.id, applianceId);
      logger.info(
        { volume: copy.id },
        `disk-${deviceKey} of ${stored.instanceName} is kept as ${name}`,
      );
      kept.push({ disk_id: `disk-${deviceKey}`, name, id: copy.id });
    }
    return kept;
  });
}

function nameOf(prefix: string, deviceKey: number): string {
  return `${prefix}-disk-${deviceKey}`;
}

function lost(deviceKey: number, id: string): MigratekitError {
  return new MigratekitError(
    "cloudstack-not-found",
    `disk-${deviceKey}: the volume ${id} cannot be copied, as it is not known any more`,
    { remedy: "Go back without --keep-new." },
  );
}
