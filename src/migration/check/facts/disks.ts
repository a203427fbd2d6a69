/** The VM's disks: what each is, what keeps it out of a snapshot, which are left out. */
import { MigratekitError } from "../../../errors.ts";
import { sizeText } from "../../../text.ts";
import type { VmFacts } from "../../../vmware/vm-facts.ts";
import { diskIdOf, obstacleToSnapshot } from "../../vm/disks.ts";
import { type Finding, ok, problem, warning } from "../finding.ts";

/** Each disk as it is, and what keeps it out of a snapshot. */
export function checkDisks(vm: VmFacts, skip: readonly number[]): Finding[] {
  const found: Finding[] = [];
  for (const disk of vm.disks) {
    const tracked = disk.changeId === undefined ? "not tracked yet" : "tracked";
    const provisioning = disk.thin === undefined ? "" : disk.thin ? "thin " : "thick ";
    const text =
      `${diskIdOf(disk)} (${disk.label}): ${sizeText(disk.capacityBytes)}, ${provisioning}${disk.backing}, ` +
      `${disk.diskMode}, ${tracked}, ${disk.fileName}`;
    const obstacle = obstacleToSnapshot(disk);
    if (skip.includes(disk.key)) {
      found.push(ok("disk", `${text}; left out by --skip-disks`));
    } else if (obstacle === undefined) {
      found.push(ok("disk", text));
      if (vm.changeTrackingEnabled && vm.changeTrackingSupported && disk.changeId === undefined) {
        found.push(
          warning(
            "disk",
            `${diskIdOf(disk)} has no change ID although tracking is on: it is copied in full`,
            "It gets one with the next snapshot; if not, reset tracking of the VM (KB 2139574).",
          ),
        );
      }
    } else {
      const error = new MigratekitError(
        "vm-unsuitable",
        `${diskIdOf(disk)} (${disk.label}) ${obstacle}: a snapshot does not hold it`,
        { remedy: `Change the disk, or leave it out with --skip-disks ${disk.key}.` },
      );
      found.push(problem("disk", error));
    }
  }
  return found;
}

/** @throws MigratekitError `usage`, `vm-unsuitable`, as `selectDisks` does in a run */
export function checkSkipped(vm: VmFacts, skip: readonly number[]): Finding[] {
  const keys = vm.disks.map((disk) => disk.key);
  const unknown = skip.filter((key) => !keys.includes(key));
  const found = unknown.map((key) =>
    problem(
      "disk",
      new MigratekitError("usage", `--skip-disks names ${key}, which the VM does not have`, {
        remedy: `Its disks are ${keys.join(", ")}.`,
      }),
    ),
  );
  if (keys.every((key) => skip.includes(key))) {
    found.push(
      problem("disk", new MigratekitError("vm-unsuitable", `${vm.name} has no disk to migrate`)),
    );
  }
  return found;
}
