/** A copy that may write for so long, in a process of its own: deadline-child.ts SOURCE TARGET BYTES MS */
import { setTimeout as sleep } from "node:timers/promises";
import { Engine, readClocks } from "../../src/nbd/copy-engine/copy-engine.ts";

const [source = "", target = "", bytes = "", ms = ""] = process.argv.slice(2);
const engine = new Engine();
const { bootMs, wallMs } = readClocks();
const until = { bootMs: bootMs + Number(ms), wallMs: wallMs + Number(ms) };
engine.writeUntil(until);
const copying = engine.copy({
  source: { uri: source },
  target: { uri: target },
  capacityBytes: Number(bytes),
});
while (readClocks().bootMs < until.bootMs) await sleep(5);
// Of a process that was stopped: it runs again. Whoever started it waits for this.
await sleep(300);
process.stdout.write("late\n");
await copying;
process.stdout.write("done\n");
