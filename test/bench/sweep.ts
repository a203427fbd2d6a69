/** Looks for a contender's best settings: one axis after the other, then again where it won. */

const triedMinimum = 3;

/** A value of an axis: what it changes in the settings. */
export type Axis<Settings> = Partial<Settings>[];

export interface Swept<Settings> {
  /** All that were measured, the fastest first. */
  ranking: { settings: Settings; wallMs: number }[];
}

/**
 * The first pass goes over all axes; the second starts from what the first one found, so that axes
 * which depend on each other meet. Stops when the time is up, but not before three settings were
 * tried.
 */
export async function sweep<Settings extends object>(options: {
  start: Settings;
  axes: Axis<Settings>[];
  measure(settings: Settings): Promise<number>;
  deadline: number;
}): Promise<Swept<Settings>> {
  const { axes, measure, deadline } = options;
  const known = new Map<string, { settings: Settings; wallMs: number }>();
  const look = async (settings: Settings): Promise<number> => {
    const key = JSON.stringify(settings);
    const before = known.get(key);
    if (before) return before.wallMs;
    const wallMs = await measure(settings);
    known.set(key, { settings, wallMs });
    return wallMs;
  };
  let best = options.start;
  let bestMs = await look(best);
  for (let pass = 0; pass < 2; pass++) {
    for (const axis of axes) {
      const from = best;
      for (const change of axis) {
        if (Date.now() > deadline && known.size >= triedMinimum) return { ranking: ranking() };
        const settings = { ...from, ...change };
        const wallMs = await look(settings);
        if (wallMs < bestMs) [best, bestMs] = [settings, wallMs];
      }
    }
  }
  return { ranking: ranking() };

  function ranking() {
    return [...known.values()].sort((a, b) => a.wallMs - b.wallMs);
  }
}
