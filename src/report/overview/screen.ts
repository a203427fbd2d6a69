/** What `--watch` writes on: a terminal is drawn over, anything else gets what is new. */
export class Screen {
  readonly #live: boolean;
  #last = "";
  #begun = false;

  /** `cursor`: whether the terminal can be drawn over, should stdout be one. */
  constructor(cursor: boolean) {
    this.#live = cursor && process.stdout.isTTY === true;
  }

  get isLive(): boolean {
    return this.#live;
  }

  /** Text that ends with a line break. */
  show(text: string): void {
    if (this.#live) this.#redraw(text);
    else if (text !== this.#last) process.stdout.write(text);
    this.#last = text;
  }

  /** Over what stands there, so that nothing flickers. */
  #redraw(text: string): void {
    const lines = text.replaceAll("\n", "\u001b[K\n");
    process.stdout.write(`${this.#begun ? "\u001b[H" : "\u001b[2J\u001b[H"}${lines}\u001b[J`);
    this.#begun = true;
  }
}
