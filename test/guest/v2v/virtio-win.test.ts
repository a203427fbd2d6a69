import assert from "node:assert/strict";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { chooseDrivers } from "../../../src/guest/v2v/virtio-win.ts";
import { tempDir } from "../../temp-dir.ts";

const server2025 = { build: 26_100, isServer: true, takenFor: "win2k16" };

async function tree(folder: string, releases: readonly string[]): Promise<string> {
  const root = join(folder, "given");
  const files = releases.flatMap((release) =>
    ["viostor", "NetKVM"].map((driver) => `${driver}/${release}/amd64/${driver}.sys`),
  );
  for (const file of [...files, "guest-agent/agent.msi", "vioserial/2k16/amd64/vioser.sys"]) {
    await mkdir(dirname(join(root, file)), { recursive: true });
    await writeFile(join(root, file), file);
  }
  return root;
}

test("a release that is taken for an older one gets its own drivers, under the name that is looked for", async () => {
  for (const [releases, right] of [
    [["2k16", "2k22", "2k25"], "2k25"],
    [["2k16", "2k22"], "2k22"],
  ] as const) {
    await using folder = await tempDir();
    const given = await tree(folder.path, releases);
    const { virtioWin = "", findings } = await chooseDrivers(given, server2025, folder.path);
    assert.deepEqual(findings, []);
    assert.deepEqual((await readdir(virtioWin)).sort(), ["NetKVM", "guest-agent", "viostor"]);
    assert.deepEqual(await readdir(join(virtioWin, "viostor")), ["2k16"]);
    const driver = await readFile(join(virtioWin, "viostor/2k16/amd64/viostor.sys"), "utf8");
    assert.equal(driver, `viostor/${right}/amd64/viostor.sys`);
  }
});

test("where the drivers of an older release would be taken all the same, it is to be looked at", async () => {
  await using folder = await tempDir();
  const old = await tree(folder.path, ["2k16", "2k19"]);
  const iso = join(folder.path, "virtio-win.iso");
  await writeFile(iso, "");
  for (const given of [old, iso, undefined]) {
    const { virtioWin, findings } = await chooseDrivers(given, server2025, folder.path);
    assert.equal(virtioWin, given);
    assert.equal(findings[0]?.level, "look");
    assert.match(findings[0]?.text ?? "", /drivers of 2k16, .*viostor\/2k25/);
  }
});

test("what virt-v2v chooses right, and what nobody knows, is left to it", async () => {
  const releases = [
    { build: 26_100, isServer: true, takenFor: "win2k25" },
    { build: 26_100, isServer: true, takenFor: "win2k22" },
    { build: 20_348, isServer: true, takenFor: "win2k22" },
    { build: 17_763, isServer: true, takenFor: "win2k19" },
    { build: 19_045, isServer: false, takenFor: "win10" },
    { build: 22_631, isServer: false, takenFor: "win11" },
    { build: 9_600, isServer: true, takenFor: "win2k12r2" },
    { isServer: true },
  ];
  for (const release of releases) {
    assert.deepEqual(await chooseDrivers("/given", release, "/nowhere"), {
      ...{ virtioWin: "/given", findings: [] },
    });
  }
});
