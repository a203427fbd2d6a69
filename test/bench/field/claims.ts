/** What is claimed of the field's cells, each with the figure of this run. */
import { type Claim, percent, times, type Value, worstOf } from "../claims.ts";
import { type ContenderName, median } from "../results.ts";
import type { FieldResult, ManyResult, RateContender, RateResult, WholeResult } from "./results.ts";

const gigabit = 125_000_000;

export function fieldClaims(results: FieldResult[]): Claim[] {
  const rates = results.filter((result) => result.kind === "rate");
  const changes = rates.filter(({ contenders }) => (contenders[0]?.rates.length ?? 0) > 1);
  return [
    against(rates, "migratekit-fixed", 0.9, "once settled, at least 0.9 × the best fixed settings"),
    against(rates, "nbdcopy", 1, "once settled, at least as fast as nbdcopy's best settings"),
    against(rates, "migratekit-before", 0.97, "not below 0.97 × the code before"),
    settled("settled within 10 s of the start, in the median", rates, [0], 10_000),
    settled("settled within 5 s of a change, in the median", changes, [1, 2], 5_000),
    ...lines(rates),
    ...whole(results.filter((result) => result.kind === "whole")),
    ...many(results.filter((result) => result.kind === "many")),
  ].filter((claim) => claim !== undefined);
}

function contender({ contenders }: RateResult, name: ContenderName): RateContender | undefined {
  return contenders.find((entry) => entry.name === name);
}

function against(
  results: RateResult[],
  theirs: ContenderName,
  wanted: number,
  text: string,
): Claim | undefined {
  const values = results.flatMap((result): Value[] => {
    const [ours, them] = [contender(result, "migratekit"), contender(result, theirs)];
    if (!ours || !them) return [];
    return ours.rates.map((rate, phase) => ({
      name: ours.rates.length > 1 ? `${result.name}, phase ${phase + 1}` : result.name,
      value: rate / them.rates[phase]!,
    }));
  });
  return worstOf(`Field: ${text}`, values, wanted);
}

function settled(
  text: string,
  results: RateResult[],
  phases: number[],
  wantedMs: number,
): Claim | undefined {
  const all = results.flatMap((result) => {
    const { settledMs = [] } = contender(result, "migratekit") ?? {};
    return phases.map((phase) => settledMs[phase] ?? Number.POSITIVE_INFINITY);
  });
  if (all.length === 0) return undefined;
  const ms = median(all);
  const never = all.filter((value) => !Number.isFinite(value)).length;
  return {
    text: `Field: ${text}`,
    measured: `${Number.isFinite(ms) ? `${(ms / 1000).toFixed(1)} s` : "never"}${never > 0 ? `, not at all in ${never} of ${all.length}` : ""}`,
    met: ms <= wantedMs,
  };
}

function lines(results: RateResult[]): Claim[] {
  return results.flatMap((result) => {
    const rate = contender(result, "migratekit")?.rates[0];
    const { lineRate, roundTripMs } = result;
    if (rate === undefined || lineRate === undefined) return [];
    const narrow = lineRate === gigabit;
    return [
      {
        text: `A line of ${lineRate / gigabit} Gbit/s and ${roundTripMs} ms: at least ${narrow ? "85 % of it" : "2 Gbit/s"}`,
        measured: narrow ? percent(rate / lineRate) : `${(rate / gigabit).toFixed(1)} Gbit/s`,
        met: rate >= (narrow ? 0.85 * lineRate : 2 * gigabit),
      },
    ];
  });
}

function whole(results: WholeResult[]): Claim[] {
  const ours = results.flatMap(({ contenders }) =>
    contenders.filter(({ name }) => name === "migratekit"),
  );
  if (ours.length === 0) return [];
  const twice = ours.reduce((sum, { verdict }) => sum + verdict.twice, 0);
  return [
    {
      text: "Targets with a slow cache, and with large blocks: every copy ends, no block is written twice",
      measured: `${ours.length} ended; ${twice} blocks twice`,
      met: twice === 0,
    },
  ];
}

function many(results: ManyResult[]): Claim[] {
  return results.flatMap(({ against: what, contenders }) => {
    const ours = contenders.find(({ name }) => name === "migratekit");
    if (!ours) return [];
    const { eachMs, rate, rateOfOne } = ours;
    if (what === "first") {
      const growth = eachMs.at(-1)! / eachMs[0]!;
      const text = `${eachMs.length} copies on one engine: the last takes at most 1.1 × the first`;
      return [{ text, measured: times(growth), met: growth <= 1.1 }];
    }
    const share = rate / (rateOfOne ?? rate);
    const text = `A list of ${eachMs.length} VMs: at least 0.9 × as fast as one large one`;
    return [{ text, measured: times(share), met: share >= 0.9 }];
  });
}
