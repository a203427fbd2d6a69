/** Weekly windows: spans of every week on the wall clock of a time zone. */
import { InvalidValue } from "../../option-types.ts";
import type { WeeklyWindow } from "../fleet.ts";
import { dayMs, Zone } from "./zone.ts";

const minuteMs = 60_000;
const dayMinutes = 1440;
const weekMinutes = 7 * dayMinutes;
const weekMs = 7 * dayMs;
const dayNames = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

const form =
  'windows such as "Mon-Fri 19:00-06:00", "Sat,Sun", "22:00-05:00" or "Sun 02:00-Mon 05:00"';

/**
 * Windows out of texts, each of which may hold several with semicolons or commas between; the outcome is sorted,
 * and those that touch are one. @throws InvalidValue
 */
export function parseWindows(texts: readonly string[], timeZone: string): WeeklyWindow[] {
  const spans = texts.flatMap((text) => text.split(";")).flatMap(parseText);
  if (spans.length === 0) throw new InvalidValue(`has no window; it takes ${form}`);
  return joined(spans).map(([fromMinute, toMinute]) => ({ fromMinute, toMinute, timeZone }));
}

/** Whether one of the windows is open; none at all stand for always. */
export function isOpen(windows: readonly WeeklyWindow[], at: number): boolean {
  return windows.length === 0 || windows.some((window) => isOne(window, at));
}

/** `at` itself where they are open then. */
export function nextOpening(windows: readonly WeeklyWindow[], at: number): number {
  let time = at;
  while (!isOpen(windows, time)) time = nextChange(windows, time);
  return time;
}

/** The first instant after `at`, when they are open, at which they are not; Infinity for what is always open. */
export function closes(windows: readonly WeeklyWindow[], at: number): number {
  if (isAlways(windows)) return Number.POSITIVE_INFINITY;
  let time = at;
  while (isOpen(windows, time)) time = nextChange(windows, time);
  return time;
}

function isAlways(windows: readonly WeeklyWindow[]): boolean {
  return (
    windows.length === 0 ||
    windows.some(({ fromMinute, toMinute }) => fromMinute === 0 && toMinute === weekMinutes)
  );
}

function isOne({ fromMinute, toMinute, timeZone }: WeeklyWindow, at: number): boolean {
  const minute = (Zone.of(timeZone).wallAt(at) - weekOf(timeZone, at)) / minuteMs;
  return fromMinute < toMinute
    ? minute >= fromMinute && minute < toMinute
    : minute >= fromMinute || minute < toMinute;
}

/** Monday 00:00 on the wall clock. */
function weekOf(timeZone: string, at: number): number {
  const wall = Zone.of(timeZone).wallAt(at);
  // 1970 began on a Thursday.
  const sinceMonday = (((wall + 3 * dayMs) % weekMs) + weekMs) % weekMs;
  return wall - sinceMonday;
}

/** The next instant at which one of them may open or close; clocks that are changed may do it, too. */
function nextChange(windows: readonly WeeklyWindow[], at: number): number {
  let next = Number.POSITIVE_INFINITY;
  for (const { fromMinute, toMinute, timeZone } of windows) {
    const zone = Zone.of(timeZone);
    const week = weekOf(timeZone, at);
    for (const minute of [fromMinute, toMinute]) {
      for (const begin of [week, week + weekMs]) {
        for (const instant of zone.reachedAt(begin + minute * minuteMs)) {
          if (instant > at && instant < next) next = instant;
        }
      }
    }
    next = zone.changeAfter(at, next) ?? next;
  }
  return next;
}

/** `to` may be past the week's end. */
type Span = readonly [fromMinute: number, toMinute: number];

/**
 * `Mon-Fri 19:00-06:00, Sat,Sun`: days without a time go with the next ones, or are whole days in the
 * end. What ends where it begins is a whole day, or a whole week.
 */
function parseText(text: string): Span[] {
  const spans: Span[] = [];
  let days: number[] = [];
  for (const part of text.split(",").map((each) => each.trim())) {
    const across = /^([a-z]+)\s+(\S+?)\s*-\s*([a-z]+)\s+(\S+)$/i.exec(part);
    if (across && days.length === 0) {
      const [, fromDay = "", from = "", toDay = "", to = ""] = across;
      const [begin, end] = [momentOf(fromDay, from, text), momentOf(toDay, to, text)];
      spans.push([begin, end > begin ? end : end + weekMinutes]);
      continue;
    }
    const [, dayText = "", from, to] =
      /^([a-z]+(?:\s*-\s*[a-z]+)?)?\s*(?:(\d\S*?)\s*-\s*(\d\S*))?$/i.exec(part) ?? [];
    if (dayText === "" && from === undefined) throw refusal(text);
    if (dayText !== "") days.push(...daysOf(dayText, text));
    if (from === undefined || to === undefined) continue;
    const [begin, end] = [minuteOf(from, text), minuteOf(to, text)];
    const wanted = days.length > 0 ? days : dayNames.map((_, day) => day);
    for (const day of wanted) {
      const over = end <= begin ? dayMinutes : 0;
      spans.push([day * dayMinutes + begin, day * dayMinutes + end + over]);
    }
    days = [];
  }
  for (const day of days) spans.push([day * dayMinutes, (day + 1) * dayMinutes]);
  return spans;
}

function momentOf(day: string, time: string, text: string): number {
  return dayOf(day, text) * dayMinutes + minuteOf(time, text);
}

function daysOf(range: string, text: string): number[] {
  const [from = 0, to = from] = range.split("-").map((name) => dayOf(name.trim(), text));
  const count = ((to - from + 7) % 7) + 1;
  return Array.from({ length: count }, (_, at) => (from + at) % 7);
}

function dayOf(name: string, text: string): number {
  const day = dayNames.indexOf(name.slice(0, 3).toLowerCase());
  if (day < 0 || !/^(mon|tues?|wed(nes)?|thu(rs)?|fri|sat(ur)?|sun)(day)?$/i.test(name)) {
    throw refusal(text);
  }
  return day;
}

/** `24:00` is a day's end. */
function minuteOf(time: string, text: string): number {
  const [, hours, minutes] = /^(\d{1,2}):(\d\d)$/.exec(time) ?? [];
  const minute = Number(hours) * 60 + Number(minutes);
  if (hours === undefined || Number(minutes) > 59 || minute > dayMinutes) throw refusal(text);
  return minute;
}

/** In the order of the week; one over its end goes on in the next. */
function joined(spans: readonly Span[]): Span[] {
  const linear = spans
    .map(([from, to]): Span => (from < weekMinutes ? [from, to] : [0, to - weekMinutes]))
    .flatMap(([from, to]): Span[] =>
      to <= weekMinutes
        ? [[from, to]]
        : [
            [from, weekMinutes],
            [0, to - weekMinutes],
          ],
    )
    .sort((a, b) => a[0] - b[0]);
  const found: [number, number][] = [];
  for (const [from, to] of linear) {
    const last = found.at(-1);
    if (last && from <= last[1]) last[1] = Math.max(last[1], to);
    else found.push([from, to]);
  }
  const [first, last] = [found[0]!, found.at(-1)!];
  if (found.length === 1 || first[0] !== 0 || last[1] !== weekMinutes) return found;
  return [...found.slice(1, -1), [last[0], first[1]]];
}

function refusal(text: string): InvalidValue {
  return new InvalidValue(`is "${text}"; it takes ${form}`);
}
