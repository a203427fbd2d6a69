/** What a test does to the machine. */
import { spawn } from "node:child_process";
import { availableParallelism } from "node:os";

/** Two processes for each core that do nothing but run, until this is disposed of. */
export function keepBusy(): Disposable {
  const others = Array.from({ length: 2 * availableParallelism() }, () =>
    spawn("sh", ["-c", "while :; do :; done"]),
  );
  return {
    [Symbol.dispose]() {
      for (const other of others) other.kill();
    },
  };
}
