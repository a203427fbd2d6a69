/** On what it was measured: the machine's shape and the opponents' versions, no names and no paths. */
import { cpus, loadavg, release, totalmem } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { libnbdVersion } from "../../src/nbd/copy-engine/copy-engine.ts";
import { runPlain } from "./tools.ts";

const loadLimit = 0.3;
const watchMs = 1000;

export async function describeMachine(): Promise<Record<string, string>> {
  const first = async (command: string, ...args: string[]) => {
    const text = await runPlain(command, args);
    return /\d+(\.\d+)+/.exec(text)?.[0] ?? "?";
  };
  const processors = cpus();
  return {
    processor: `${processors.length} × ${processors[0]?.model ?? "?"}`,
    memory: `${(totalmem() / 2 ** 30).toFixed(0)} GiB`,
    kernel: `Linux ${release()}`,
    node: process.version,
    libnbd: libnbdVersion(),
    nbdcopy: await first("nbdcopy", "--version"),
    "qemu-img": await first("qemu-img", "--version"),
    nbdkit: await first("nbdkit", "--version"),
  };
}

/** A note when other programs keep the processors busy. */
export async function otherLoad(): Promise<string[]> {
  const ticks = () =>
    cpus().reduce(
      ({ busy, all }, { times }) => {
        const used = times.user + times.nice + times.sys + times.irq;
        return { busy: busy + used, all: all + used + times.idle };
      },
      { busy: 0, all: 0 },
    );
  const before = ticks();
  await sleep(watchMs);
  const after = ticks();
  const share = (after.busy - before.busy) / Math.max(after.all - before.all, 1);
  if (share < loadLimit) return [];
  return [
    `other programs kept the processors ${Math.round(100 * share)} % busy when it began ` +
      `(load average ${loadavg()[0]?.toFixed(1)}): distrust the figures`,
  ];
}
