// What terminals get that can do less than others.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { migrateWell } from "./migrate-checks.ts";
import { startAtTerminal, withoutEscapes } from "./terminal.ts";

let lab: Lab;
let vm: LabVm;
before(async () => {
  lab = await startLab({ targets: "direct" });
  vm = lab.vm("MyVM");
  // Three runs, so that the history has a row of deltas to draw.
  for (const seed of [1, 2, 3]) {
    await vm.randomWrites(2000, { seed, writes: 2 });
    await migrateWell(lab, vm, { jobId: "ended" });
  }
});
after(() => lab.stop());

const dumb = { TERM: "dumb" };
const ascii = { LANG: "en_US.UTF-8", LC_ALL: "C" };

async function shownBy(
  args: readonly string[],
  env: Record<string, string>,
  columns = 100,
): Promise<string> {
  const run = await startAtTerminal({ args, columns, env }).result;
  assert.equal(run.code, 0, run.output);
  return run.output;
}

const commands = (): [string, readonly string[]][] => [
  ["migrate", lab.migrateArgs(vm, { extra: ["--full", "--max-rate", "30M"] })],
  ["history", ["history", "--state-dir", lab.stateDir]],
  ["status", ["status", "ended", "--watch", "--vma-url", lab.vma.url]],
];

test("a dumb terminal gets lines and no escape sequence, from every command", async () => {
  for (const [name, args] of commands()) {
    const output = await shownBy(args, dumb);
    assert.ok(!output.includes("\u001b"), name);
    const expected = { migrate: /INFO: Finalize/, history: /^start \(UTC\)/m, status: /completed/ };
    assert.match(output, expected[name as keyof typeof expected]);
  }
});

test("a terminal of another character set than UTF-8 gets ASCII, from every command", async () => {
  for (const columns of [60, 100]) {
    for (const [name, args] of commands()) {
      const output = await shownBy(args, ascii, columns);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: it is the range that is meant
      assert.doesNotMatch(output, /[^\u0000-\u007f]/, `${name} at ${columns} columns`);
    }
  }
  const [migrate, history, status] = commands().map(([, args]) => args);
  assert.match(withoutEscapes(await shownBy(migrate!, ascii)), /^total +#+-* +\d+%/m);
  assert.match(await shownBy(history!, ascii), /^changed \(up to .*\): [_.:=+*#-]{2,}/m);
  assert.match(await shownBy(status!, ascii), /total {2,}#+ +100 %/);
});
