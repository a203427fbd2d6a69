import type { SQLOutputValue } from "node:sqlite";
import { MigratekitError } from "../../errors.ts";
import { moveAwayRemedy } from "./failure.ts";

/** One row of an answer, read by column and type. STRICT tables make a wrong type damage. */
export class Row {
  readonly #columns: Record<string, SQLOutputValue>;
  readonly #path: string;

  constructor(columns: Record<string, SQLOutputValue>, path: string) {
    this.#columns = columns;
    this.#path = path;
  }

  number(column: string): number {
    return this.optionalNumber(column) ?? this.#wrong(column);
  }

  optionalNumber(column: string): number | undefined {
    const value = this.#columns[column];
    if (value === null) return undefined;
    return typeof value === "number" ? value : this.#wrong(column);
  }

  text(column: string): string {
    return this.optionalText(column) ?? this.#wrong(column);
  }

  optionalText(column: string): string | undefined {
    const value = this.#columns[column];
    if (value === null) return undefined;
    return typeof value === "string" ? value : this.#wrong(column);
  }

  /** A text out of a closed set. */
  oneOf<const T extends string>(column: string, values: readonly T[]): T {
    return this.optionalOneOf(column, values) ?? this.#wrong(column);
  }

  optionalOneOf<const T extends string>(column: string, values: readonly T[]): T | undefined {
    const value = this.optionalText(column);
    if (value === undefined) return undefined;
    return values.find((candidate) => candidate === value) ?? this.#wrong(column);
  }

  bytes(column: string): Uint8Array {
    const value = this.#columns[column];
    return value instanceof Uint8Array ? value : this.#wrong(column);
  }

  /** A text that is JSON. */
  json(column: string): unknown {
    try {
      return JSON.parse(this.text(column));
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      return this.#wrong(column);
    }
  }

  #wrong(column: string): never {
    return damaged(this.#path, `column ${column} holds something unexpected`);
  }
}

/** Reports content that the file's structure check cannot see is wrong. */
export function damaged(path: string, finding: string): never {
  throw new MigratekitError("state-unusable", `The state database ${path} is damaged: ${finding}`, {
    remedy: moveAwayRemedy(path),
    context: { path },
  });
}
