import assert from "node:assert/strict";
import { test } from "node:test";
import type { Conversion, Finding, SignsOfLife } from "../../../src/guest/guest.ts";
import { outcomeOf } from "../../../src/migration/rehearse/verdict.ts";

function conversion(verdict: Conversion["verdict"], ...findings: Finding[]): Conversion {
  const hardware = {
    ...{ controller: "virtio" as const, firmware: "bios" as const, secureBoot: false },
    ...{ machine: "pc" as const, nics: [] },
  };
  return { verdict, findings, hardware, guest: { os: "linux" }, repairs: [], durationMs: 1 };
}

function signs(verdict: SignsOfLife["verdict"]): SignsOfLife {
  return {
    ...{ verdict, reason: `seen: ${verdict}`, accelerator: "tcg", kernel: true, rootMounted: true },
    ...{ console: undefined, addresses: [], writtenBytes: 0, restarts: 0, consoleTail: [] },
    ...{ screenshot: undefined, durationMs: 1, bootMs: undefined },
  };
}

const look: Finding = { level: "look", source: "check", text: "no room in /boot" };
const bad: Finding = { level: "will-not-boot", source: "check", text: "no driver in the initrd" };

test("without a start the checks decide", () => {
  assert.equal(outcomeOf(conversion("boots"), undefined).verdict, "converts");
  assert.deepEqual(outcomeOf(conversion("look", look), undefined), {
    ...{ verdict: "unclear", reason: "no room in /boot" },
  });
  assert.deepEqual(outcomeOf(conversion("will-not-boot", look, bad), undefined), {
    ...{ verdict: "will-not-boot", reason: "no driver in the initrd" },
  });
});

test("a guest that was started judges itself, also where the checks were in doubt", () => {
  for (const verdict of ["boots", "unclear", "will-not-boot"] as const) {
    const outcome = { verdict, reason: `seen: ${verdict}` };
    assert.deepEqual(outcomeOf(conversion("boots"), signs(verdict)), outcome);
    assert.deepEqual(outcomeOf(conversion("look", look), signs(verdict)), outcome);
  }
});

test("what a check knows to be wrong stays wrong, however well it started here", () => {
  assert.equal(
    outcomeOf(conversion("will-not-boot", bad), signs("boots")).verdict,
    "will-not-boot",
  );
});
