/** Wall clocks of time zones, from the IANA database that Node carries. Instants are ms since 1970 in UTC. */

const minuteMs = 60_000;
export const dayMs = 1440 * minuteMs;

/** What the clocks are ahead of UTC in one day of UTC. */
interface Day {
  readonly before: number;
  readonly after: number;
  /** The first instant of `after`; of a day without a change its beginning. */
  readonly changedAt: number;
}

/** What a wall clock shows is written as the instant at which a clock of UTC shows the same. */
export class Zone {
  static readonly #known = new Map<string, Zone>();
  readonly name: string;
  readonly #format: Intl.DateTimeFormat;
  /** By days since 1970; asking ICU each time would take most of a forecast's time. */
  readonly #days = new Map<number, Day>();

  private constructor(name: string) {
    this.name = name;
    this.#format = new Intl.DateTimeFormat("en-US", {
      timeZone: name,
      calendar: "gregory",
      hourCycle: "h23",
      ...{ year: "numeric", month: "numeric", day: "numeric" },
      ...{ hour: "numeric", minute: "numeric", second: "numeric" },
    });
  }

  /** @throws RangeError for a name that is not in the database */
  static of(name: string): Zone {
    const zone = Zone.#known.get(name) ?? new Zone(name);
    Zone.#known.set(name, zone);
    return zone;
  }

  /** What the wall clock shows at an instant. */
  wallAt(at: number): number {
    return at + this.#offsetAt(at);
  }

  /** When the wall clock shows this: never where clocks leap over it, twice where they are put back. */
  instantsOf(wall: number): number[] {
    // Offsets are of less than a day, and change at most once in one.
    const offsets = new Set([wall - dayMs, wall, wall + dayMs].map((near) => this.#offsetAt(near)));
    return [...offsets]
      .map((offset) => wall - offset)
      .filter((at) => this.wallAt(at) === wall)
      .sort((a, b) => a - b);
  }

  /** As `instantsOf`, but for what clocks leap over the end of the leap. `wall` is a whole minute. */
  reachedAt(wall: number): number[] {
    for (let later = wall; ; later += minuteMs) {
      const instants = this.instantsOf(later);
      if (instants.length > 0) return instants;
    }
  }

  /** The next instant after `after` at which the clocks are changed, and not after `until`. */
  changeAfter(after: number, until: number): number | undefined {
    for (let day = Math.floor(after / dayMs); day * dayMs <= until; day++) {
      const { changedAt, after: then } = this.#day(day);
      const isChange = then !== this.#offsetAt(changedAt - minuteMs);
      if (isChange && changedAt > after && changedAt <= until) return changedAt;
    }
    return undefined;
  }

  #offsetAt(at: number): number {
    const { before, after, changedAt } = this.#day(Math.floor(at / dayMs));
    return at < changedAt ? before : after;
  }

  #day(number: number): Day {
    const known = this.#days.get(number);
    if (known) return known;
    const [begin, end] = [number * dayMs, (number + 1) * dayMs - minuteMs];
    const [before, after] = [this.#measure(begin), this.#measure(end)];
    let [low, high] = [begin, before === after ? begin : end];
    // Clocks are changed at whole minutes.
    while (high - low > minuteMs) {
      const middle = low + Math.floor((high - low) / 2 / minuteMs) * minuteMs;
      if (this.#measure(middle) === before) low = middle;
      else high = middle;
    }
    const day = { before, after, changedAt: high };
    this.#days.set(number, day);
    return day;
  }

  #measure(at: number): number {
    const parts = this.#format.formatToParts(at);
    const part = (type: string) => Number(parts.find((each) => each.type === type)?.value);
    const day = Date.UTC(part("year"), part("month") - 1, part("day"));
    return day + Date.UTC(1970, 0, 1, part("hour"), part("minute"), part("second")) - at;
  }
}
