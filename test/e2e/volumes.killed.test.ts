// A first run to CloudStack volumes, killed at each thing that it asks for: the next one leaves one volume for each disk.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startVolumesLab, type VolumesLab } from "./volumes-lab.ts";

const fill = { seed: 7, dataRatio: 0.5 };
const disks = [
  { capacityBytes: 2 << 20, fill },
  { capacityBytes: 2 << 20, fill },
];
/** createVolume and createTags for each disk, then attachVolume for each. */
const changes = [1, 2, 3, 4, 5, 6];

let it: VolumesLab;
before(async () => {
  it = await startVolumesLab(changes.map((at) => ({ name: `killed0${at}`, disks })));
});
after(() => it[Symbol.asyncDispose]());

for (const at of changes) {
  test(`killed as change ${at} is carried out`, async () => {
    const vm = it.lab.vm(`killed0${at}`);
    let seen = 0;
    const run = it.start("migrate", vm);
    it.cloud.onCall(({ command }) => {
      if (/^(list|query)/.test(command) || ++seen !== at) return;
      run.child.kill("SIGKILL");
    });
    assert.equal((await run.result).signal, "SIGKILL");
    await it.cloud.settled();
    const { code, stderr } = await it.run("migrate", vm);
    assert.equal(code, 0, stderr);
    // volumeOf refuses two of one name.
    await it.assertEqual(vm);
    for (const key of [2000, 2001]) {
      const volume = it.cloud.volumes().find(({ id }) => id === it.volumeOf(vm, key));
      assert.equal(volume!.instanceId, it.cloud.appliance.id);
    }
    const own = it.cloud.volumes().filter(({ name }) => name.includes(vm.record.instanceUuid));
    assert.equal(own.length, 2);
  });
}
