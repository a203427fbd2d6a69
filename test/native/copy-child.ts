/** A copy, or two that one of them ends, in a process or worker of its own: copy-child.ts SOURCE TARGET whole|endless|exit */
import { parentPort } from "node:worker_threads";
import { Engine } from "../../src/nbd/copy-engine/copy-engine.ts";

const [source = "", target = "", mode = "whole"] = process.argv.slice(2);
const engine = new Engine();
let told = false;
const copyOnce = () =>
  engine.copy({
    source: { uri: source },
    target: { uri: target },
    capacityBytes: 16 << 20,
    // What is under way is to be answered within the time that an end leaves a loop (kDrain in loop.cc).
    requestBytes: mode === "whole" ? 1 << 20 : 65536,
    onChunks() {
      if (mode === "exit") process.exit(7);
      if (mode === "endless" && !told) parentPort?.postMessage("started");
      told = true;
    },
  });
await Promise.all(mode === "exit" ? [copyOnce(), copyOnce()] : [copyOnce()]);
parentPort?.postMessage("done");
