/** What the API's objects hold, judged where it comes in: a wrong type is named, not carried on. */

import { MigratekitError } from "../errors.ts";
import { oneLine } from "../text.ts";
import { type Fields, isFields } from "./wire/answer.ts";

/** One object of an answer; `what` it is, for messages. */
export class Entry {
  readonly #what: string;
  readonly #fields: Fields;

  constructor(what: string, fields: Fields) {
    this.#what = what;
    this.#fields = fields;
  }

  text(name: string): string {
    return this.optionalText(name) ?? this.#refuse(name, "a text");
  }

  optionalText(name: string): string | undefined {
    const value = this.#fields[name];
    if (value === undefined || value === null) return undefined;
    // Some releases write numbers where others write texts.
    if (typeof value === "string" || typeof value === "number") return String(value);
    return this.#refuse(name, "a text");
  }

  integer(name: string): number {
    return this.optionalInteger(name) ?? this.#refuse(name, "a whole number");
  }

  optionalInteger(name: string): number | undefined {
    const value = this.#fields[name];
    if (value === undefined || value === null || value === "") return undefined;
    const number = typeof value === "string" ? Number(value) : value;
    if (typeof number === "number" && Number.isSafeInteger(number)) return number;
    return this.#refuse(name, "a whole number");
  }

  /** Absent is false. */
  flag(name: string): boolean {
    const value = this.#fields[name] ?? false;
    if (typeof value === "boolean") return value;
    if (value === "true" || value === "false") return value === "true";
    return this.#refuse(name, "true or false");
  }

  /** Absent is an empty list. */
  entries(name: string, what: string): Entry[] {
    const value = this.#fields[name] ?? [];
    if (!Array.isArray(value) || !value.every(isFields)) return this.#refuse(name, "a list");
    return value.map((fields) => new Entry(what, fields));
  }

  /** An object of texts, such as an instance's details. */
  texts(name: string): Readonly<Record<string, string>> {
    const value = this.#fields[name] ?? {};
    if (!isFields(value)) return this.#refuse(name, "an object");
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, String(each)]));
  }

  /** `[{key, value}]`, as everything in CloudStack may have. */
  tags(): Readonly<Record<string, string>> {
    const tags = this.entries("tags", "tag");
    return Object.fromEntries(
      tags.map((tag) => [tag.text("key"), tag.optionalText("value") ?? ""]),
    );
  }

  #refuse(name: string, wanted: string): never {
    const value = oneLine(JSON.stringify(this.#fields[name]) ?? "nothing", 80);
    throw new MigratekitError(
      "cloudstack-protocol",
      `CloudStack sent ${this.#what} whose ${name} is ${value}, not ${wanted}`,
    );
  }
}
