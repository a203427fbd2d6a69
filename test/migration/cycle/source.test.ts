import assert from "node:assert/strict";
import { test } from "node:test";
import { MigratekitError } from "../../../src/errors.ts";
import { explainEngineError } from "../../../src/migration/cycle/source.ts";
import { NbdError } from "../../../src/nbd/copy-engine/copy-engine.ts";

const lost = (message: string, errno: string): Promise<unknown> =>
  explainEngineError(
    new NbdError("ENGINE_LOST", message, { side: "target", errno }),
    { diskId: "disk-2000", target: { identity: "nbd://127.0.0.1:10808/volume" } },
    { findRootCause: async () => undefined },
  );

test("a server that took too long is answered with the flag that gives it longer", async () => {
  for (const [message, flag] of [
    ["the target did not answer for 60000 ms", /--stall-timeout/],
    ["the target did not finish a flush within 600000 ms", /--flush-timeout/],
  ] as const) {
    const error = await lost(message, "ETIMEDOUT");
    assert.ok(error instanceof MigratekitError);
    assert.equal(error.code, "target-io");
    assert.match(error.remedy ?? "", flag);
  }
});

test("of a server that went away, no flag is named", async () => {
  const error = await lost("the server closed the connection", "ENOTCONN");
  assert.ok(error instanceof MigratekitError);
  assert.doesNotMatch(error.remedy ?? "", /timeout/);
});
