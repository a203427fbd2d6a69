// A guest whose root is in LUKS and opens by a key file in its initramfs: converted with that key, it boots unattended.
// The key is in no command line, no environment and no log.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { startMachine } from "../lab/guest-machine.ts";
import { GuestByHand } from "./by-hand.ts";
import { luksKey, luksUuid, recipes } from "./debian/recipe.ts";
import { expectWords } from "./guest-words.ts";

const guest = recipes.luks;
const bootTimeoutMs = 300_000;
const lookMs = 200;

/** Looks at all processes of this machine until the test ends; gives who showed the text, and who was seen at all. */
function watchProcesses(t: TestContext, text: string) {
  const showed = new Set<string>();
  const seen = new Set<string>();
  const look = () => {
    for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, "latin1").replaceAll("\0", " ");
        seen.add(command);
        if (command.includes(text)) showed.add(command);
        if (readFileSync(`/proc/${pid}/environ`, "latin1").includes(text)) showed.add(command);
      } catch {
        // It has ended.
      }
    }
  };
  const timer = setInterval(look, lookMs);
  t.after(() => clearInterval(timer));
  return { showed, seen };
}

test("a guest in LUKS boots from its target, and comes back as it was", async (t) => {
  await using vm = await GuestByHand.start("luks");
  const before = await vm.digests();
  const watched = watchProcesses(t, luksKey);
  const key = async (name: string, content: string) => {
    const path = join(vm.folder, name);
    await writeFile(path, content, { mode: 0o600 });
    return path;
  };

  await t.test("a key that opens nothing is told, and nothing is changed", async () => {
    const other = await key("other", "another-key");
    const { code, stderr } = await vm.command("convert", "--luks-key", other);
    assert.equal(code, 9, stderr);
    assert.match(stderr, /\[guest-encrypted\]: no key that was given opens LUKS on \/dev\/sda2/);
    assert.deepEqual(await vm.digests(), before);
  });

  // As an editor leaves it, with the line's end; its path has what virt-v2v's own option cannot take.
  const file = await key("a key: it is", `${luksKey}\n`);
  const converted = await vm.command("convert", "--debug", "--luks-key", `${luksUuid}=${file}`);
  assert.equal(converted.code, 0, converted.stderr.slice(-4_000));
  assert.equal(converted.stderr.includes(luksKey), false, "no log has the key");
  assert.equal(converted.stdout.includes(luksKey), false);
  const { conversion } = JSON.parse(converted.stdout);
  assert.equal(conversion.verdict, "boots", JSON.stringify(conversion.findings));
  const repaired = conversion.repairs.map(({ name }: { name: string }) => name);
  for (const name of ["luks-names", "luks-root", "nic-names"])
    assert.ok(repaired.includes(name), `${repaired}`);
  assert.deepEqual([...watched.showed], []);
  assert.ok([...watched.seen].some((command) => command.includes(`--key ${luksUuid}:file:`)));

  const { controller, machine } = conversion.hardware;
  assert.equal(controller, "virtio");
  await using started = await startMachine({
    ...{ hardware: "virtio", firmware: "bios", mac: guest.mac, machine },
    disks: await vm.copies(),
  });
  await expectWords(started, guest, { marker: "one", timeoutMs: bootTimeoutMs });

  await vm.run("rollback");
  assert.deepEqual(await vm.digests(), before);
});
