import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import {
  btrfs,
  changedSectors,
  ext4,
  extVariants,
  keepCopy,
  makeVolume,
  mountRangesOf,
  mountReally,
  ntfs,
  places,
  run,
  wholeDisk,
  writeLikeMount,
  xfs,
} from "./images.ts";

let dir: string;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), "volume-"));
});
after(() => rm(dir, { recursive: true }));

function within(ranges: Float64Array, sectors: readonly number[]): number[] {
  return sectors.filter((sector) =>
    ranges.some(
      (offset, at) => at % 2 === 0 && sector >= offset && sector < offset + ranges[at + 1]!,
    ),
  );
}

const cases = [
  ...extVariants.map((system) => ({ system, place: wholeDisk })),
  ...[ext4, xfs, ntfs, btrfs].flatMap((system) => places.map((place) => ({ system, place }))),
];

for (const [number, { system, place }] of cases.entries()) {
  test(`a mount of ${system.name} ${place.name} writes to the listed ranges`, async (t) => {
    const volume = await makeVolume(join(dir, String(number)), system, place);
    const ranges = await mountRangesOf(volume.path);
    const old = await keepCopy(volume.path);

    if (await mountReally(volume, system)) {
      const changed = await changedSectors(old, volume.path);
      assert.notDeepEqual(within(ranges, changed), [], `of ${changed.length} changed sectors`);
      await run("cp", "--sparse=always", old, volume.path);
    } else {
      t.diagnostic("not mounted by the kernel of this machine, or not by this user");
    }

    await writeLikeMount(volume);
    const changed = await changedSectors(old, volume.path);
    assert.notDeepEqual(within(ranges, changed), [], `of ${changed.length} changed sectors`);
    await rm(join(dir, String(number)), { recursive: true });
  });
}
