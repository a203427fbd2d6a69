/** The text format of LVM's metadata: `name = value`, `name { … }`, lists in brackets, # comments. */
import { NotUnderstood } from "./fields.ts";

export type LvmValue = string | number | readonly (string | number)[] | LvmSection;
export interface LvmSection {
  readonly [name: string]: LvmValue;
}

const tokensMax = 100_000;
const depthMax = 8;
const token = /(?:\s|#[^\n]*\n)*("(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?![\w.+-])|[\w.+-]+|[{}[\]=,])/y;

/** @throws NotUnderstood */
export function parseLvmText(text: string): LvmSection {
  return new Parser(text).section(0, true);
}

class Parser {
  readonly #tokens: string[] = [];
  #at = 0;

  constructor(text: string) {
    const [source = ""] = text.split("\0", 1);
    token.lastIndex = 0;
    for (let found = token.exec(source); found; found = token.exec(source)) {
      if (this.#tokens.push(found[1]!) > tokensMax) throw new NotUnderstood("too long a text");
    }
  }

  section(depth: number, outermost = false): LvmSection {
    if (depth > depthMax) throw new NotUnderstood("sections too deep");
    // Names come from the disk: one of them may be __proto__.
    const entries: [string, LvmValue][] = [];
    for (;;) {
      const name = this.#tokens[this.#at++];
      if (name === undefined && outermost) break;
      if (name === "}" && !outermost) break;
      const after = this.#tokens[this.#at++];
      if (name === undefined || !/^[\w.+-]+$/.test(name)) throw new NotUnderstood("no name");
      if (after === "{") entries.push([name, this.section(depth + 1)]);
      else if (after === "=") entries.push([name, this.#value()]);
      else throw new NotUnderstood(`"${name}" is neither a value nor a section`);
    }
    return Object.fromEntries(entries);
  }

  #value(): LvmValue {
    const first = this.#tokens[this.#at++];
    if (first !== "[") return scalar(first);
    const list: (string | number)[] = [];
    for (;;) {
      const next = this.#tokens[this.#at++];
      if (next === "]") return list;
      if (next !== ",") list.push(scalar(next));
    }
  }
}

function scalar(text: string | undefined): string | number {
  if (text?.startsWith('"')) return text.slice(1, -1).replaceAll(/\\(.)/g, "$1");
  if (text === undefined || !/^-?\d/.test(text)) throw new NotUnderstood("no value");
  return Number(text);
}
