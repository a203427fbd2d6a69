// `check --deploy`: everything that a cutover to CloudStack needs is looked at, and nothing is changed.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { RawClient } from "../lab-tests/cloudstack-client.ts";
import { startVolumesLab, type VolumesLab } from "./volumes-lab.ts";

const fill = { seed: 5, dataRatio: 0.5 };
const disk = { capacityBytes: 4 << 20, fill };

let it: VolumesLab;
let vm: LabVm;
before(async () => {
  it = await startVolumesLab([
    {
      ...{ name: "Web 01", disks: [disk, disk] },
      hardware: {
        nics: [
          { mac: "00:50:56:aa:00:01", network: "VM Network", addresses: ["192.0.2.50/24"] },
          { mac: "00:50:56:aa:00:02", network: "dmz" },
        ],
      },
    },
  ]);
  vm = it.lab.vm("Web 01");
});
after(() => it[Symbol.asyncDispose]());
beforeEach(() => {
  it.cloud.faults.clear();
  it.cloud.calls.clear();
  it.cloud.account().deniedCommands.splice(0);
  it.cloud.setLimits("operator", {});
});

interface Checked {
  findings: { area: string; level: string; message: string; remedy?: string; code?: string }[];
}

const good: Record<string, string> = {
  "--cloudstack-offering": "Custom Instance",
  "--cloudstack-template": "seed",
  "--network": "VM Network=lan,dmz=l2",
};

/** The findings about CloudStack, by their level. */
async function check(change: Record<string, string | undefined> = {}) {
  const args = Object.entries({ ...good, ...change }).flatMap(([name, value]) =>
    value === undefined ? [] : [name, value],
  );
  const run = await it.run("check", vm, { extra: ["--deploy", ...args] });
  const { findings } = run.json<Checked>();
  const of = (level: string) =>
    findings.filter((each) => each.area === "cloudstack" && each.level === level);
  const texts = (level: string) => of(level).map(({ message }) => message);
  assert.deepEqual(it.cloud.calls.changes(), [], "nothing was changed");
  return {
    code: run.code,
    problems: texts("problem"),
    warnings: texts("warning"),
    ok: texts("ok"),
  };
}

const only = (texts: string[], pattern: RegExp) => {
  assert.equal(texts.length, 1, texts.join("\n"));
  assert.match(texts[0]!, pattern);
};

test("where all is well it says what was found: zone, role, appliance, offering, template, cards, name", async () => {
  const { code, problems, warnings, ok } = await check();
  assert.deepEqual([code, problems, warnings], [0, [], []]);
  const said = ok.join("\n");
  for (const pattern of [
    /^CloudStack 4\.19\.1\.0, zone zone-1$/m,
    /^the role allows every command that is used$/m,
    /^appliance: .+, of account operator$/m,
    /^the disks' controller can be chosen: .*virtio/m,
    /^compute offering: Custom Instance/m,
    /^template: seed/m,
    /^card 00:50:56:aa:00:01 -> network lan .*, 192\.0\.2\.50$/m,
    /^card 00:50:56:aa:00:02 -> network l2 .*, no address of CloudStack's$/m,
    /^the instance's name would be web-01-[0-9a-f]{6}$/m,
    /^disk-2000 .*: a run would make the volume/m,
  ])
    assert.match(said, pattern);
});

test("names that lead nowhere are all found at once, with the flag", async () => {
  const { code, problems } = await check({
    "--cloudstack-offering": "huge",
    "--cloudstack-template": "not downloaded yet",
    "--network": "VM Network=lan,dmz=nowhere",
  });
  assert.equal(code, 10);
  const said = problems.join("\n");
  assert.equal(problems.length, 3, said);
  assert.match(said, /--cloudstack-offering huge: no such compute offering/);
  assert.match(said, /--cloudstack-template not downloaded yet .*not ready/);
  assert.match(said, /--network nowhere: no such network/);
  const { problems: without } = await check({ "--cloudstack-offering": undefined });
  only(without, /check needs --cloudstack-offering/);
});

test("a card without a network, two on one, and addresses that cannot be theirs are refused", async () => {
  only(
    (await check({ "--network": "VM Network=lan" })).problems,
    /no --network says where the card 00:50:56:aa:00:02/,
  );
  only((await check({ "--network": "VM Network=lan,dmz=lan" })).problems, /puts two cards/);
  only(
    (await check({ "--network": "VM Network=lan,ip=198.51.100.7,dmz=l2" })).problems,
    /198\.51\.100\.7 of the card .* is not in 192\.0\.2\.0\/24 of network lan/,
  );
  only(
    (await check({ "--network": "VM Network=lan,ip=192.0.2.1,dmz=l2" })).problems,
    /192\.0\.2\.1 is the gateway's/,
  );
  const { warnings } = await check({ "--network": "VM Network=l2,dmz=lan" });
  only(warnings, /no address of the card 00:50:56:aa:00:02 is known/);
});

test("a MAC, an address or a name that an instance has already is refused with its name", async () => {
  const client = new RawClient(it.cloud);
  const { lan } = { lan: client.ids.network("lan") };
  await client.machine("squatter", {
    "iptonetworklist[0].networkid": lan,
    "iptonetworklist[0].mac": "00:50:56:aa:00:01",
    "iptonetworklist[0].ip": "192.0.2.50",
  });
  it.cloud.calls.clear();
  const { problems } = await check({ "--cloudstack-name": "squatter" });
  const said = problems.join("\n");
  assert.match(said, /the MAC 00:50:56:aa:00:01 is taken on network lan .* by squatter/);
  assert.match(said, /the address 192\.0\.2\.50 is taken on network lan .* by squatter/);
  assert.match(said, /there is an instance squatter .* already, in state Stopped/);
  assert.equal(problems.length, 3, said);
  const [found] = it.cloud.instances();
  await client.job("destroyVirtualMachine", { id: found!.id, expunge: "true" });
});

test("a role that lacks commands, a controller that is denied and limits that are reached are told with what is missing", async () => {
  it.cloud.account().deniedCommands.push("deployVirtualMachine", "detachVolume");
  only((await check()).problems, /role does not allow detachVolume, deployVirtualMachine$/);
  it.cloud.account().deniedCommands.splice(0);
  const { settings } = it.cloud;
  settings.deniedDetails = ["rootDiskController"];
  only((await check()).problems, /may not choose the disks' controller/);
  settings.deniedDetails = [];
  it.cloud.account().deniedCommands.push("listDetailOptions");
  only((await check()).warnings, /may not ask whether it can choose the disks' controller/);
  it.cloud.account().deniedCommands.splice(0);
  it.cloud.setLimits("operator", { volume: 3, memory: 1100 });
  const { problems } = await check();
  const said = problems.join("\n");
  assert.match(said, /may take \d+ MiB of memory more, and \d+ are needed/);
  assert.match(said, /may take 2 volumes more, and 3 are needed/);
});

test("an offering that is too small, and an account that may not expunge, are warned of", async () => {
  only(
    (await check({ "--cloudstack-offering": "Small Instance" })).warnings,
    /offering Small Instance has 1 CPU .*the VM has 2 CPUs/,
  );
  it.cloud.settings.usersMayExpunge = false;
  only((await check()).warnings, /may not expunge/);
  it.cloud.settings.usersMayExpunge = true;
});

test("a key that is refused is one finding, and nothing else is asked", async () => {
  it.cloud.faults.add({
    name: "apiError",
    command: "listZones",
    value: 401,
    text: "unable to verify",
  });
  const { code, problems } = await check();
  assert.equal(code, 10);
  assert.ok(
    problems.every((each) => /unable to verify/.test(each)),
    problems.join("\n"),
  );
});
