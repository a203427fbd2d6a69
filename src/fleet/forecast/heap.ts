/** What comes first of many: by a number, and of equals the one that was put in first. */
export class Heap<T> {
  readonly #entries: { readonly at: number; readonly turn: number; readonly value: T }[] = [];
  #turns = 0;

  /** Infinity: it is empty. */
  get firstAt(): number {
    return this.#entries[0]?.at ?? Number.POSITIVE_INFINITY;
  }

  push(at: number, value: T): void {
    const entries = this.#entries;
    let place = entries.push({ at, turn: this.#turns++, value }) - 1;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (!this.#precedes(place, parent)) return;
      this.#swap(place, parent);
      place = parent;
    }
  }

  pop(): T | undefined {
    const entries = this.#entries;
    const first = entries[0];
    const last = entries.pop();
    if (first === undefined || last === undefined || entries.length === 0) return first?.value;
    entries[0] = last;
    for (let place = 0; ; ) {
      const [left, right] = [2 * place + 1, 2 * place + 2];
      let least = place;
      if (left < entries.length && this.#precedes(left, least)) least = left;
      if (right < entries.length && this.#precedes(right, least)) least = right;
      if (least === place) return first.value;
      this.#swap(place, least);
      place = least;
    }
  }

  #precedes(a: number, b: number): boolean {
    const [one, other] = [this.#entries[a]!, this.#entries[b]!];
    return one.at < other.at || (one.at === other.at && one.turn < other.turn);
  }

  #swap(a: number, b: number): void {
    const entries = this.#entries;
    [entries[a], entries[b]] = [entries[b]!, entries[a]!];
  }
}
