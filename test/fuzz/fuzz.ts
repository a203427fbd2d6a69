/**
 * npm run fuzz -- [--seed N] [--count N] [--from N] [--area vsphere,vma,oma,nbd,inputs]
 *
 * `--count` is the number of vSphere runs and of inputs; of API runs there are half as many, of NBD
 * runs a tenth (they are whole copies). A failure names area, run and seed; `--area A --from RUN
 * --count 1` repeats it (a tenth or half is then not taken).
 */
import { parseArgs } from "node:util";
import { startApiFuzz } from "./apis.ts";
import { type FuzzRun, runCampaign } from "./campaign.ts";
import { startInputFuzz } from "./inputs.ts";
import { runNbd } from "./nbd.ts";
import { startVsphereFuzz } from "./vsphere.ts";

interface Area {
  readonly share: number;
  readonly lanes: number;
  start(): Promise<{ readonly run: FuzzRun } & Partial<AsyncDisposable & Disposable>>;
}

const areas: Record<string, Area> = {
  inputs: { share: 1, lanes: 1, start: async () => startInputFuzz() },
  vma: { share: 0.5, lanes: 12, start: () => startApiFuzz("vma") },
  oma: { share: 0.5, lanes: 12, start: () => startApiFuzz("oma") },
  nbd: { share: 0.1, lanes: 6, start: async () => ({ run: runNbd }) },
  vsphere: { share: 1, lanes: 24, start: startVsphereFuzz },
};

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: `${Date.now() % 1_000_000}` },
    count: { type: "string", default: "20000" },
    from: { type: "string", default: "0" },
    area: { type: "string", default: Object.keys(areas).join(",") },
  },
});

for (const name of values.area.split(",")) {
  const area = areas[name];
  if (!area) throw new Error(`no area ${name}; there are ${Object.keys(areas).join(", ")}`);
  const seed = Number(values.seed);
  const count = Math.max(1, Math.ceil(Number(values.count) * area.share));
  const startedMs = performance.now();
  console.log(`${name}: ${count} runs, seed ${seed}`);
  const fuzz = await area.start();
  try {
    const onProgress = (done: number) => console.log(`${name}: ${done} of ${count}`);
    const from = Number(values.from);
    const { lanes } = area;
    const tally = await runCampaign({ name, count, seed, from, lanes, run: fuzz.run, onProgress });
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(0);
    console.log(`${name}: ${tally.value} sound values, ${tally.error} typed errors, ${seconds} s`);
  } catch (error) {
    console.error(error);
    process.exitCode = 1;
  } finally {
    await fuzz[Symbol.asyncDispose]?.();
    fuzz[Symbol.dispose]?.();
  }
}
