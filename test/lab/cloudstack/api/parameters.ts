/** The parameters of one command. Names are taken in any case, as CloudStack takes them. */

import { noSuchEntity, parameterError } from "./api-error.ts";

type MapEntry = Readonly<Record<string, string>>;

export class Parameters {
  readonly command: string;
  readonly #plain = new Map<string, string>();
  /** `details[0].cpuNumber=2` by name and index. */
  readonly #maps = new Map<string, Map<number, Record<string, string>>>();

  constructor(command: string, given: ReadonlyMap<string, string>) {
    this.command = command;
    for (const [name, value] of given) {
      const [, map, index, field] = /^([^[]+)\[(\d+)\]\.(.+)$/.exec(name) ?? [];
      if (map === undefined) this.#plain.set(name.toLowerCase(), value);
      else this.#mapOf(map.toLowerCase(), Number(index))[field!] = value;
    }
  }

  #mapOf(name: string, index: number): Record<string, string> {
    const entries = this.#maps.get(name) ?? new Map<number, Record<string, string>>();
    this.#maps.set(name, entries);
    const entry = entries.get(index) ?? {};
    entries.set(index, entry);
    return entry;
  }

  text(name: string): string | undefined {
    const value = this.#plain.get(name);
    return value === "" ? undefined : value;
  }

  required(name: string): string {
    const value = this.text(name);
    if (value === undefined)
      throw parameterError(
        `Unable to execute API command ${this.command.toLowerCase()} due to missing parameter ${name}`,
      );
    return value;
  }

  integer(name: string): number | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    if (!/^-?\d+$/.test(value)) throw noSuchEntity(this.command, name, value);
    return Number(value);
  }

  flag(name: string): boolean | undefined {
    const value = this.text(name)?.toLowerCase();
    return value === undefined ? undefined : value === "true";
  }

  /** Names between commas. */
  list(name: string): string[] | undefined {
    return this.text(name)
      ?.split(",")
      .map((each) => each.trim());
  }

  /** `name[0].a=1`, `name[1].a=2` in the order of their indexes. */
  entries(name: string): MapEntry[] {
    return [...(this.#maps.get(name) ?? [])].sort(([a], [b]) => a - b).map(([, entry]) => entry);
  }

  /** All entries of a map as one, be they written `d[0].k=v` or `d[0].key=k&d[0].value=v`. */
  map(name: string): Record<string, string> {
    const merged: Record<string, string> = {};
    for (const entry of this.entries(name)) {
      if (entry.key !== undefined && entry.value !== undefined) merged[entry.key] = entry.value;
      else Object.assign(merged, entry);
    }
    return merged;
  }
}
