/**
 * Cron lines of five fields: minute, hour, day of the month, month, day of the week; lists, ranges, steps and
 * English names. As with cron(8), days match by either field where both are given.
 */
import { InvalidValue } from "../../option-types.ts";
import { dayMs, type Zone } from "./zone.ts";

export interface CronLine {
  readonly minutes: readonly number[];
  readonly hours: readonly number[];
  /** What day it may be, by month (1 to 12), day of the month, and day of the week (0 is Sunday). */
  readonly isDay: (month: number, day: number, weekday: number) => boolean;
}

interface Field {
  readonly what: string;
  readonly min: number;
  readonly max: number;
  /** The first stands for `min`. */
  readonly names?: readonly string[];
}

const fields: readonly Field[] = [
  { what: "minute", min: 0, max: 59 },
  { what: "hour", min: 0, max: 23 },
  { what: "day of the month", min: 1, max: 31 },
  {
    what: "month",
    min: 1,
    max: 12,
    names: "jan feb mar apr may jun jul aug sep oct nov dec".split(" "),
  },
  // 7 is Sunday, too.
  { what: "day of the week", min: 0, max: 7, names: "sun mon tue wed thu fri sat".split(" ") },
];

/** In days: 29 February comes once in eight years around 2100. */
const horizonDays = 366 * 8;

/** @throws InvalidValue naming the field at fault */
export function parseCron(line: string): CronLine {
  const texts = line.trim().split(/\s+/);
  if (texts.length !== fields.length) {
    throw new InvalidValue(
      `is "${line}"; it takes five fields: minute, hour, day of the month, month, day of the week`,
    );
  }
  const [minutes, hours, days, months, weekdays] = texts.map((text, at) =>
    parseField(text, fields[at]!, line),
  );
  const isWeekday = new Set(weekdays!.map((day) => day % 7));
  const [isDayOfMonth, isMonth] = [new Set(days), new Set(months)];
  const either = !texts[2]!.startsWith("*") && !texts[4]!.startsWith("*");
  const cron: CronLine = {
    minutes: minutes!,
    hours: hours!,
    isDay: (month, day, weekday) => {
      if (!isMonth.has(month)) return false;
      const [byMonth, byWeek] = [isDayOfMonth.has(day), isWeekday.has(weekday)];
      return either ? byMonth || byWeek : byMonth && byWeek;
    },
  };
  if (nextDay(cron, 0) === undefined)
    throw new InvalidValue(`is "${line}", a day that never comes`);
  return cron;
}

/**
 * The first instant after `after` at which the line is due. A minute that clocks leap over is due at the next
 * that there is; one that comes twice is due the first time.
 */
export function nextDue({ cron, zone }: { cron: CronLine; zone: Zone }, after: number): number {
  for (const wall of wallsFrom(cron, zone.wallAt(after))) {
    const [at] = zone.reachedAt(wall);
    if (at! > after) return at!;
  }
  throw new Error("a cron line without a day was taken");
}

/** What matches on the wall clock, from the day of `from` on. */
function* wallsFrom(cron: CronLine, from: number): Generator<number> {
  for (
    let day = nextDay(cron, Math.floor(from / dayMs));
    day !== undefined;
    day = nextDay(cron, day + 1)
  ) {
    for (const hour of cron.hours) {
      for (const minute of cron.minutes) {
        const wall = day * dayMs + (hour * 60 + minute) * 60_000;
        if (wall + 60_000 > from) yield wall;
      }
    }
  }
}

/** In days since 1970. */
function nextDay({ isDay }: CronLine, from: number): number | undefined {
  for (let day = from; day <= from + horizonDays; day++) {
    const date = new Date(day * dayMs);
    if (isDay(date.getUTCMonth() + 1, date.getUTCDate(), date.getUTCDay())) return day;
  }
  return undefined;
}

function parseField(text: string, field: Field, line: string): number[] {
  const values = new Set<number>();
  for (const item of text.split(",")) {
    const [range = "", stepText, ...more] = item.split("/");
    const step = stepText === undefined ? 1 : Number(stepText);
    if (more.length > 0 || (stepText !== undefined && !/^[1-9]\d{0,3}$/.test(stepText))) {
      throw refusal(item, field, line);
    }
    const [from, to] = parseRange(range, stepText !== undefined, field) ?? [1, 0];
    if (from > to) throw refusal(item, field, line);
    for (let value = from; value <= to; value += step) values.add(value);
  }
  return [...values].sort((a, b) => a - b);
}

/** Undefined for what is none. `5/15` goes on from 5 to the end. */
function parseRange(
  text: string,
  stepped: boolean,
  field: Field,
): readonly [number, number] | undefined {
  // Sunday once.
  const last = field.max === 7 ? 6 : field.max;
  if (text === "*") return [field.min, last];
  const [first, second, ...more] = text.split("-").map((word) => numberOf(word, field));
  if (first === undefined || more.length > 0 || (text.includes("-") && second === undefined)) {
    return undefined;
  }
  return [first, second ?? (stepped ? last : first)];
}

function numberOf(word: string, { min, max, names }: Field): number | undefined {
  const named = names?.indexOf(word.toLowerCase()) ?? -1;
  if (named >= 0) return min + named;
  const value = Number(word);
  return /^\d{1,2}$/.test(word) && value >= min && value <= max ? value : undefined;
}

function refusal(item: string, { what, min, max, names }: Field, line: string): InvalidValue {
  const named = names ? `, or ${names[0]} to ${names.at(-1)}` : "";
  return new InvalidValue(
    `is "${line}", whose ${what} has "${item}"; it takes ${min} to ${max}${named}, *, ranges, steps such as */15, and lists`,
  );
}
