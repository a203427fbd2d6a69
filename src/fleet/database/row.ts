import { MigratekitError } from "../../errors.ts";

/** One row of PostgreSQL's answer, read by column and type; what is of another type is damage, or a bug. */
export class Row {
  readonly #columns: Readonly<Record<string, unknown>>;

  constructor(columns: Readonly<Record<string, unknown>>) {
    this.#columns = columns;
  }

  text(column: string): string {
    return this.optionalText(column) ?? this.#wrong(column);
  }

  optionalText(column: string): string | undefined {
    const value = this.#columns[column] ?? undefined;
    return value === undefined || typeof value === "string" ? value : this.#wrong(column);
  }

  /** Of an integer column, also one of 64 bits that holds no more than 53. */
  number(column: string): number {
    return this.optionalNumber(column) ?? this.#wrong(column);
  }

  optionalNumber(column: string): number | undefined {
    const value = this.#columns[column] ?? undefined;
    if (value === undefined) return undefined;
    const number = typeof value === "string" && /^-?\d+$/.test(value) ? Number(value) : value;
    return typeof number === "number" && Number.isSafeInteger(number)
      ? number
      : this.#wrong(column);
  }

  flag(column: string): boolean {
    return this.optionalFlag(column) ?? this.#wrong(column);
  }

  optionalFlag(column: string): boolean | undefined {
    const value = this.#columns[column] ?? undefined;
    return value === undefined || typeof value === "boolean" ? value : this.#wrong(column);
  }

  time(column: string): Date {
    return this.optionalTime(column) ?? this.#wrong(column);
  }

  /** Also of a row that came as JSON. */
  optionalTime(column: string): Date | undefined {
    const value = this.#columns[column] ?? undefined;
    if (value === undefined || value instanceof Date) return value;
    const time = typeof value === "string" ? new Date(value) : undefined;
    return time && !Number.isNaN(time.getTime()) ? time : this.#wrong(column);
  }

  /** Of a column that is a JSON list of rows. */
  rows(column: string): Row[] {
    const value = this.#columns[column] ?? [];
    return Array.isArray(value) ? value.map((columns) => new Row(columns)) : this.#wrong(column);
  }

  texts(column: string): readonly string[] {
    const value = this.#columns[column];
    return Array.isArray(value) && value.every((each) => typeof each === "string")
      ? value
      : this.#wrong(column);
  }

  /** Of a column of 64-bit integers that hold no more than 53. */
  numbers(column: string): readonly number[] {
    const value = this.#columns[column];
    if (!Array.isArray(value)) return this.#wrong(column);
    return value.map((each) => (/^-?\d+$/.test(String(each)) ? Number(each) : this.#wrong(column)));
  }

  bytes(column: string): Uint8Array {
    const value = this.#columns[column];
    return value instanceof Uint8Array ? value : this.#wrong(column);
  }

  /** Of a JSON column whose form is this program's own: only the database's owner can write there. */
  json<T>(column: string): T {
    return this.optionalJson<T>(column) ?? this.#wrong(column);
  }

  optionalJson<T>(column: string): T | undefined {
    return (this.#columns[column] ?? undefined) as T | undefined;
  }

  #wrong(column: string): never {
    throw new MigratekitError(
      "fleet-database-fault",
      `The fleet's database answered with something unexpected in ${column}`,
    );
  }
}
