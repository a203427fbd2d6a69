/** VMs that wait for one ESXi host, in the order in which they are claimed, and how long they waited for what. */
import type { FleetAction } from "../fleet.ts";

/**
 * What a VM that is due and in its window may wait for: connections to its host, a run at a datastore, a target server
 * or an appliance; or the line to the targets, where that is full: more runs would not be faster then.
 */
export type Wait = "host" | "datastore" | "target" | "appliance" | "link";
export type Waited = Readonly<Record<Wait, number>>;

export interface Waiting {
  /** Its place in the plan. */
  readonly index: number;
  readonly action: FleetAction;
  readonly priority: number;
  /** Of its wave, in the plan's order. */
  readonly wavePosition: number;
  readonly dueAt: number;
  /** When its window closes. */
  readonly closesAt: number;
}

interface Entry extends Waiting {
  /** The line's clocks when it came. */
  readonly clocks: Waited;
}

export class Line {
  /** Connections; Infinity: of VMs whose host is not known. */
  readonly capacity: number;
  used = 0;
  /** Since when somebody has been waiting; undefined: nobody is. */
  backlogSince: number | undefined;
  readonly #entries: Entry[] = [];
  /** What syncs of VMs that are in sync take on the average, in connections, by priority. */
  readonly #syncLoad = new Map<number, number>();
  #clocks: Record<Wait, number> = { host: 0, datastore: 0, target: 0, appliance: 0, link: 0 };
  #reason: Wait | undefined;
  #since = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  get waiting(): readonly Waiting[] {
    return this.#entries;
  }

  enter(waiting: Waiting, at: number): void {
    this.waitsFor(this.#reason, at);
    this.backlogSince ??= at;
    const entry = { ...waiting, clocks: { ...this.#clocks } };
    let [low, high] = [0, this.#entries.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (precedes(entry, this.#entries[middle]!)) high = middle;
      else low = middle + 1;
    }
    this.#entries.splice(low, 0, entry);
  }

  /** Takes one out of the line; gives how long it has waited for what, in ms. */
  leave(place: number, at: number): Waited {
    this.waitsFor(this.#reason, at);
    const [entry] = this.#entries.splice(place, 1);
    if (this.#entries.length === 0) this.backlogSince = undefined;
    const since = (wait: Wait) => this.#clocks[wait] - entry!.clocks[wait];
    return {
      host: since("host"),
      datastore: since("datastore"),
      target: since("target"),
      appliance: since("appliance"),
      link: since("link"),
    };
  }

  /** What holds the line up from now on; undefined: nothing. */
  waitsFor(reason: Wait | undefined, at: number): void {
    if (this.#reason !== undefined) this.#clocks[this.#reason] += at - this.#since;
    this.#reason = reason;
    this.#since = at;
  }

  addSyncLoad(priority: number, connections: number): void {
    this.#syncLoad.set(priority, (this.#syncLoad.get(priority) ?? 0) + connections);
  }

  /** First copies leave VMs of their priority that are in sync what these need; a host that nobody uses takes any. */
  fits(units: number, { priority, action }: Waiting): boolean {
    if (this.used === 0) return true;
    let reserved = 0;
    for (const [other, load] of this.#syncLoad) {
      if (other > priority || (other === priority && action === "migrate")) reserved += load;
    }
    return this.used + units + reserved <= this.capacity;
  }
}

/** Priority, then cutovers, then first copies by wave; then who was due first, then the plan's order. */
export function precedes(a: Waiting, b: Waiting): boolean {
  if (a.priority !== b.priority) return a.priority > b.priority;
  if (a.action !== b.action) return a.action === "cutover";
  if (a.action === "migrate" && a.wavePosition !== b.wavePosition) {
    return a.wavePosition < b.wavePosition;
  }
  return a.dueAt !== b.dueAt ? a.dueAt < b.dueAt : a.index < b.index;
}
