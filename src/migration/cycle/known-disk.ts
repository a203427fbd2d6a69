import { MigratekitError } from "../../errors.ts";
import type { DiskRecord } from "../../state/disk-records.ts";
import type { Journal } from "../../state/journal.ts";
import type { Run } from "../vm/run.ts";
import { diskIdOf } from "../vm/site.ts";
import type { CheckedTarget } from "../vm/targets.ts";
import type { CycleDisk } from "./cycle-disk.ts";
import type { KnownDisk, LastSync } from "./decision.ts";
import type { RunSnapshot } from "./snapshot.ts";

/** Puts together what the snapshot, the target and the state say of one disk. */
export function assembleDisk(
  run: Run,
  snapshot: RunSnapshot,
  target: CheckedTarget,
  storedChangeId: string | undefined,
): CycleDisk {
  const { key } = target.disk;
  const diskId = diskIdOf(target.disk);
  const frozen = snapshot.disks.find((disk) => disk.key === key);
  if (!frozen) {
    throw new MigratekitError("vm-unsuitable", `${diskId} is not in the snapshot`, {
      remedy: `Check the disk's mode, or leave it out with --skip-disks ${key}.`,
    });
  }
  if (frozen.capacityBytes > target.info.sizeBytes) {
    throw new MigratekitError(
      "target-too-small",
      `${diskId} grew to ${frozen.capacityBytes} bytes; ${target.identity} has ${target.info.sizeBytes}`,
    );
  }
  if (run.config.full) run.journals.discardJournal(run.identity, key);
  const record = run.records.readDiskRecord(run.identity, key);
  const journal = run.journals.openJournal(run.identity, key);
  return {
    diskId,
    frozen: {
      key,
      capacityBytes: frozen.capacityBytes,
      changeId: frozen.changeId,
      fileName: frozen.fileName,
    },
    target: target.endpoint,
    targetInfo: target.info,
    targetFacts: { uri: target.identity, sizeBytes: target.info.sizeBytes },
    targetIsZero: believeZero(run, diskId, target.identity, record),
    known: knownDisk(storedChangeId, record, journal),
    interrupted: record?.unfinished !== undefined || journal !== undefined,
    journalFinished: journal?.finished ?? new Float64Array(0),
    journalSamples: journal?.samples ?? [],
    recordSamples: record?.samples ?? [],
  };
}

/** What the stores and the journal know, in the words of decision.ts. */
export function knownDisk(
  storedChangeId: string | undefined,
  record: DiskRecord | undefined,
  journal: Journal | undefined,
): KnownDisk {
  return {
    storedChangeId,
    record: record && lastSync(record),
    journal: journal && {
      ...journal,
      target: { uri: journal.targetUri, sizeBytes: journal.targetSizeBytes },
    },
  };
}

/** `--target-is-zero` left in a cron line must not be believed once we have written there. */
function believeZero(
  run: Run,
  diskId: string,
  identity: string,
  record: DiskRecord | undefined,
): boolean {
  if (!run.config.targetIsZero) return false;
  const written = record !== undefined;
  if (written) {
    run.logger.warn(
      { disk: diskId, target: identity },
      "--target-is-zero is not used: an earlier run has written to this disk's target",
    );
  }
  return !written;
}

function lastSync(record: DiskRecord): LastSync {
  return {
    changeId: record.changeId,
    unfinished: record.unfinished,
    capacityBytes: record.capacityBytes,
    ...(record.targetUri !== undefined && record.targetSizeBytes !== undefined
      ? { target: { uri: record.targetUri, sizeBytes: record.targetSizeBytes } }
      : {}),
  };
}
