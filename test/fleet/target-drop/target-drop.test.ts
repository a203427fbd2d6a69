import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { kernelSettings } from "../../../src/fleet/target-drop/settings.ts";
import { statedMsOf } from "../../../src/fleet/target-drop/target-drop.ts";

const dropped = (lastedMs: number) => ({ lastedMs, dropped: true });
const kept = { lastedMs: 1_200_000, dropped: false };

test("a plan may promise an eighth more than an idle connection was kept, or twice an answer's time", () => {
  assert.equal(statedMsOf(dropped(80_000), dropped(13_400)), 90_000);
  assert.equal(statedMsOf(dropped(10_300), dropped(13_400)), 27_000);
  assert.equal(statedMsOf(dropped(1), dropped(1)), 1000);
});

test("nothing is promised where either was kept until the limit", () => {
  assert.equal(statedMsOf(kept, dropped(13_400)), undefined);
  assert.equal(statedMsOf(dropped(10_300), kept), undefined);
});

test("the page has the kernel's settings as the command prints them", () => {
  const page = join(import.meta.dirname, "../../../docs/fleet/workers.md");
  assert.ok(readFileSync(page, "utf8").includes(`sysctl -w ${kernelSettings}\n`));
});
