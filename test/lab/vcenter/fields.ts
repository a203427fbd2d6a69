/** Fields of a control request; numbers may come as text, since a query string knows nothing else. */

export class Fields {
  readonly all: Readonly<Record<string, unknown>>;

  constructor(all: Readonly<Record<string, unknown>>) {
    this.all = all;
  }

  text(name: string): string {
    const value = this.optionalText(name);
    if (value === undefined) throw new TypeError(`The request needs ${name}`);
    return value;
  }

  optionalText(name: string): string | undefined {
    const value = this.all[name];
    if (value !== undefined && typeof value !== "string") {
      throw new TypeError(`${name} must be text`);
    }
    return value;
  }

  number(name: string): number {
    const value = this.optionalNumber(name);
    if (value === undefined) throw new TypeError(`The request needs ${name}`);
    return value;
  }

  optionalNumber(name: string): number | undefined {
    const value = this.all[name];
    if (value === undefined) return undefined;
    const number = Number(value);
    if (value === "" || !Number.isFinite(number)) throw new TypeError(`${name} must be a number`);
    return number;
  }

  flag(name: string): boolean {
    return this.all[name] === true || this.all[name] === "true" || this.all[name] === "1";
  }

  /** The object under `name`; its fields are the caller's to know. */
  object<T extends object>(name: string): T {
    const value = this.all[name];
    if (typeof value !== "object" || value === null)
      throw new TypeError(`${name} must be an object`);
    return value as T;
  }
}
