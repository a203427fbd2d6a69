/** What shall go wrong at the API, for which command, and how often. */

/** Every fault that can be played, and what its `value` means. */
export const cloudStackFaults = {
  // The request and its answer
  lostAnswer: "the command is carried out, the connection is cut before the answer",
  lostRequest: "the connection is cut before the command is carried out",
  noAnswer: "the command is carried out, and nothing is ever answered",
  slow: "answers after value ms",
  requestTwice: "something on the way sends the command twice; the second answer comes back",
  apiError:
    "answers with the error code in value (401, 429, 431, 432, 530, 533, 535, …) and `text`",
  html: "answers 200 with a page of HTML",
  http503: "answers 503 as a proxy in front of the API does",
  // Jobs, by the command that started them
  jobFails: "the job fails with the code in value (default 530), nothing is done",
  jobFailsDone: "the job says that it failed, and all is done",
  jobHangs: "the job stays pending, nothing is done",
  jobHangsDone: "the job stays pending, and all is done",
  jobVanishes: "as after a restart of the management server: failed without a result, nothing done",
  jobVanishesDone: "as after a restart of the management server, and all is done",
  jobVanishesLate: "as after a restart, and all is done value ms later",
  jobForgotten: "all is done, and no job of this ID is known",
  slowJob: "the job takes value ms",
} as const;

export type CloudStackFaultName = keyof typeof cloudStackFaults;

export interface CloudStackFault {
  readonly name: CloudStackFaultName;
  /** Only for this command, in any case of its letters. */
  readonly command?: string;
  /** How often it strikes; absent: until cleared. */
  readonly count?: number;
  /** How many chances it lets pass first. [0] */
  readonly skip?: number;
  readonly value?: number;
  readonly text?: string;
}

interface Pending {
  readonly fault: CloudStackFault;
  strikesLeft: number;
  skipsLeft: number;
}

export class CloudStackFaults {
  #pending: Pending[] = [];

  add(fault: CloudStackFault): void {
    if (!(fault.name in cloudStackFaults)) throw new RangeError(`No such fault: ${fault.name}`);
    this.#pending.push({
      fault,
      strikesLeft: fault.count ?? Number.POSITIVE_INFINITY,
      skipsLeft: fault.skip ?? 0,
    });
  }

  clear(name?: CloudStackFaultName): void {
    this.#pending = this.#pending.filter(({ fault }) => name !== undefined && fault.name !== name);
  }

  list(): CloudStackFault[] {
    return this.#pending.map(({ fault }) => fault);
  }

  /** The first fault of these names that strikes here and now; counts it. */
  take(names: readonly CloudStackFaultName[], command: string): CloudStackFault | undefined {
    for (const pending of this.#pending) {
      const { fault } = pending;
      if (!names.includes(fault.name)) continue;
      if (fault.command !== undefined && fault.command.toLowerCase() !== command.toLowerCase())
        continue;
      if (pending.skipsLeft > 0) {
        pending.skipsLeft--;
        continue;
      }
      pending.strikesLeft--;
      if (pending.strikesLeft <= 0) this.#pending = this.#pending.filter((p) => p !== pending);
      return fault;
    }
    return undefined;
  }
}
