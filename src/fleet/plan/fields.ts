/** What an entry of a plan says of when a VM is synced and cut over, and by whom. */
import { MigratekitError } from "../../errors.ts";
import type { Field, Fields } from "../../migration/list/list-file.ts";
import * as type from "../../option-types.ts";
import { InvalidValue } from "../../option-types.ts";
import type { FleetLimits, PlannedVm, Schedule, WeeklyWindow } from "../fleet.ts";
import { parseCron } from "../timing/cron.ts";
import { parseWindows } from "../timing/windows.ts";
import { Zone } from "../timing/zone.ts";

export type Timing = Pick<
  PlannedVm,
  "wave" | "priority" | "schedule" | "syncWindows" | "cutoverWindows" | "labels"
>;

/** Of plans that name none: the same on every appliance, wherever it stands. */
export const defaultTimeZone = "UTC";

/** Reads one entry after the other; equal texts give the same objects, as most stand in thousands of entries. */
export class TimingReader {
  readonly #defaults: Fields;
  readonly #schedules = new Map<string, Schedule>();
  readonly #windows = new Map<string, readonly WeeklyWindow[]>();

  /** @throws MigratekitError `usage` for a mistake in the defaults */
  constructor(defaults: Fields) {
    this.#defaults = defaults;
    const after = defaults.get("after");
    if (after) throw usage(`${after.place} is not for all VMs: give it in an entry`);
    this.read(new Map());
  }

  /** An entry's own field beats that of the defaults. @throws MigratekitError `usage` naming the field */
  read(own: Fields): Timing {
    const find = (name: string) => own.get(name) ?? this.#defaults.get(name);
    const timeZone = parsed(find("time-zone"), one(timeZoneName)) ?? defaultTimeZone;
    const windows = (name: string) => {
      const field = find(name);
      return field === undefined ? [] : this.#windowsOf(field, timeZone);
    };
    return {
      wave: parsed(find("wave"), one(waveName)) ?? "1",
      priority: parsed(find("priority"), one(priority)) ?? 0,
      schedule: this.#scheduleOf(own, timeZone),
      syncWindows: windows("sync-window"),
      cutoverWindows: windows("cutover-window"),
      labels: parsed(find("labels"), labels) ?? [],
    };
  }

  #scheduleOf(own: Fields, timeZone: string): Schedule {
    // A cron line of a VM's own replaces a span of the defaults, and the other way round.
    const from = own.has("every") || own.has("schedule") ? own : this.#defaults;
    const [every, line] = [from.get("every"), from.get("schedule")];
    if (every && line) throw usage(`${line.place} and every say both when it is synced: give one`);
    const field = every ?? line;
    if (field === undefined) return once;
    return interned(
      this.#schedules,
      `${field === line} ${timeZone} ${field.texts.join("\n")}`,
      () => parsed(field, one(field === line ? cronSchedule(timeZone) : everySchedule)),
    );
  }

  #windowsOf(field: Field, timeZone: string): readonly WeeklyWindow[] {
    return interned(this.#windows, `${timeZone} ${field.texts.join("\n")}`, () =>
      parsed(field, (texts) => parseWindows(texts, timeZone)),
    );
  }
}

/** Names of VMs, as they were written. @throws MigratekitError `usage` */
export function afterOf(fields: Fields): readonly string[] {
  return parsed(fields.get("after"), (texts) => texts.map(type.text)) ?? [];
}

/** @throws MigratekitError `usage` naming the field */
export function limitsOf(fields: Fields): { limits: FleetLimits; targetDropMs?: number } {
  const runs = one(type.integer(0, 10_000));
  const targetDropMs = parsed(fields.get("target-drop-time"), one(type.duration));
  return {
    limits: {
      hostConnections: parsed(fields.get("host-connections"), one(type.integer(1, 52))) ?? 24,
      datastoreRuns: parsed(fields.get("datastore-runs"), runs) ?? 0,
      targetRuns: parsed(fields.get("target-runs"), runs) ?? 0,
    },
    ...(targetDropMs !== undefined && { targetDropMs }),
  };
}

const once: Schedule = { kind: "once" };

function interned<T>(known: Map<string, T>, key: string, make: () => T): T {
  const value = known.get(key) ?? make();
  known.set(key, value);
  return value;
}

function parsed<T>(field: Field, parse: (texts: readonly string[]) => T): T;
function parsed<T>(field: Field | undefined, parse: (texts: readonly string[]) => T): T | undefined;
function parsed<T>(field: Field | undefined, parse: (texts: readonly string[]) => T) {
  if (field === undefined) return undefined;
  try {
    return parse(field.texts);
  } catch (error) {
    if (!(error instanceof InvalidValue)) throw error;
    throw usage(`${field.place} ${error.message}`);
  }
}

function one<T>(parse: (text: string) => T): (texts: readonly string[]) => T {
  return (texts) => {
    if (texts.length === 1) return parse(texts[0]!);
    throw new InvalidValue(`has ${texts.length} values; it takes one`);
  };
}

function timeZoneName(name: string): string {
  try {
    return Zone.of(name).name;
  } catch {
    throw new InvalidValue(`is "${name}"; it takes a time zone such as Europe/Rome or UTC`);
  }
}

function waveName(name: string): string {
  if (/^[^\p{Cc},]{1,100}$/u.test(name) && name.trim() === name) return name;
  throw new InvalidValue(`is "${name}"; it takes a name of at most 100 characters without a comma`);
}

function priority(text: string): number {
  if (/^-?\d{1,4}$/.test(text)) return Number(text);
  throw new InvalidValue(`is "${text}"; it takes a whole number from -9999 to 9999`);
}

function labels(texts: readonly string[]): string[] {
  const found = texts.flatMap((text) => text.split(",")).map((text) => text.trim());
  const wrong = found.find((text) => !/^[a-z0-9][\w./-]*=[\w./:@-]+$/i.test(text));
  if (wrong === undefined) return [...new Set(found)].sort();
  throw new InvalidValue(`has "${wrong}"; it takes KEY=VALUE, such as site=rome`);
}

function everySchedule(text: string): Schedule {
  if (text === "once") return once;
  const everyMs = type.duration(text);
  if (everyMs >= 1000) return { kind: "every", everyMs };
  throw new InvalidValue(`is "${text}"; it takes a span such as 15m, from 1s, or once`);
}

function cronSchedule(timeZone: string): (line: string) => Schedule {
  return (line) => {
    parseCron(line);
    return { kind: "cron", line: line.trim().replaceAll(/\s+/g, " "), timeZone };
  };
}

function usage(message: string): MigratekitError {
  return new MigratekitError("usage", message);
}
