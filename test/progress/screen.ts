/** A terminal as far as the live view needs one: text, newline, carriage return, cursor up, erasing. */
import stringWidth from "string-width";

export class Screen {
  readonly columns: number;
  readonly rows = 40;
  readonly writes: string[] = [];
  cursorVisible = true;
  #lines: string[] = [""];
  #row = 0;
  #column = 0;

  constructor(columns: number) {
    this.columns = columns;
  }

  /** The lines that hold something. */
  lines(): string[] {
    return this.#lines.map((line) => line.trimEnd()).filter((line) => line !== "");
  }

  write(text: string): void {
    this.writes.push(text);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what a terminal obeys
    for (const part of text.matchAll(/\u001b\[([?\d]*)([A-Za-z])|[\s\S]/gu)) {
      if (part[2] === undefined) this.#print(part[0]);
      else this.#obey(part[2], part[1] ?? "");
    }
  }

  #obey(command: string, argument: string): void {
    if (command === "A") this.#row = Math.max(0, this.#row - Number(argument || 1));
    else if (command === "K")
      this.#lines[this.#row] = this.#lines[this.#row]!.slice(0, this.#column);
    else if (command === "J") {
      this.#lines.length = this.#row + 1;
      this.#lines[this.#row] = this.#lines[this.#row]!.slice(0, this.#column);
    } else if (argument === "?25") this.cursorVisible = command === "h";
    else if (command !== "m" && argument !== "?2026") throw new Error(`unknown ${command}`);
  }

  #print(character: string): void {
    if (character === "\n") {
      this.#row++;
      this.#column = 0;
      this.#lines[this.#row] ??= "";
      return;
    }
    if (character === "\r") {
      this.#column = 0;
      return;
    }
    if (this.#column + stringWidth(character) > this.columns) throw new Error("a line wrapped");
    const line = this.#lines[this.#row]!.padEnd(this.#column);
    this.#lines[this.#row] = line.slice(0, this.#column) + character + line.slice(this.#column + 1);
    this.#column += 1;
  }
}
