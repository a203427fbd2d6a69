/**
 * Copies under way, each at its own rate, all slowed alike where their line carries less. The time in which they
 * go is virtual: it stands still for nobody and runs slower for all, so that a copy's end is known when it begins.
 */
import { minuteOfDay, type RatePlan, rateAt } from "../../rate-plan.ts";
import { Heap } from "./heap.ts";
import type { Job } from "./job.ts";

export interface Copy {
  readonly job: Job;
  bytesLeft: number;
  bytesPerMs: number;
  /** In virtual time: when what is left was counted last. */
  countedAt: number;
  /** Of its place in the heap: older ones are void. */
  turn: number;
}

export class Copies {
  readonly #linkBytesPerMs: number;
  readonly #ends = new Heap<{ readonly copy: Copy; readonly turn: number }>();
  #virtualNow = 0;
  #wantedBytesPerMs = 0;
  #count = 0;

  /** `linkBytesPerSecond` 0: no limit. */
  constructor(linkBytesPerSecond: number) {
    this.#linkBytesPerMs = linkBytesPerSecond / 1000 || Number.POSITIVE_INFINITY;
  }

  begin(job: Job, bytes: number, at: number): Copy {
    const copy = { job, bytesLeft: bytes, bytesPerMs: 0, countedAt: this.#virtualNow, turn: 0 };
    this.#count++;
    this.#goOn(copy, at);
    return copy;
  }

  /** Its rate may be another by the time of day. */
  changeRate(copy: Copy, at: number): void {
    copy.bytesLeft -= (this.#virtualNow - copy.countedAt) * copy.bytesPerMs;
    this.#wantedBytesPerMs -= copy.bytesPerMs;
    this.#goOn(copy, at);
  }

  /** When the next one ends, if nothing begins before; Infinity: none is under way. */
  nextEnd(now: number): number {
    const left = this.#ends.firstAt - this.#virtualNow;
    return left === Number.POSITIVE_INFINITY ? left : now + Math.max(0, left) / this.#speed();
  }

  /** The line carries less than they could bring. */
  get isSlowed(): boolean {
    return this.#speed() < 1;
  }

  advance(spanMs: number): void {
    this.#virtualNow += spanMs * this.#speed();
  }

  /** The one whose time has come; undefined: what was said of it holds no longer. */
  end(): Copy | undefined {
    const { copy, turn } = this.#ends.pop()!;
    if (copy.turn !== turn) return undefined;
    this.#count--;
    // Sums of many rates leave a rest.
    this.#wantedBytesPerMs = this.#count === 0 ? 0 : this.#wantedBytesPerMs - copy.bytesPerMs;
    return copy;
  }

  #goOn(copy: Copy, at: number): void {
    copy.bytesPerMs = rateOfJob(copy.job, at) / 1000;
    copy.countedAt = this.#virtualNow;
    copy.turn++;
    this.#wantedBytesPerMs += copy.bytesPerMs;
    const end = this.#virtualNow + Math.max(0, copy.bytesLeft) / copy.bytesPerMs;
    this.#ends.push(end, { copy, turn: copy.turn });
  }

  /** Of virtual time: at most 1. */
  #speed(): number {
    return Math.min(1, this.#linkBytesPerMs / this.#wantedBytesPerMs);
  }
}

function rateOfJob({ bytesPerSecond, rates }: Job, at: number): number {
  const limit = rates === undefined ? 0 : rateAt(rates, minuteOfDay(new Date(at)));
  return limit === 0 ? bytesPerSecond : Math.min(limit, bytesPerSecond);
}

/** When the next step of a timetable begins, by the local time of day; undefined: one rate holds always. */
export function nextStepAt(rates: RatePlan | undefined, at: number): number | undefined {
  if (rates === undefined || rates.length < 2) return undefined;
  const times = rates.flatMap(({ minute }) =>
    [0, 1].map((later) => {
      const day = new Date(at);
      day.setHours(24 * later, minute, 0, 0);
      return day.getTime();
    }),
  );
  return Math.min(...times.filter((time) => time > at));
}
