/** Asynchronous jobs: each is begun a moment after its call, one after the other for the same machine. */

import { randomUUID } from "node:crypto";
import { timeText } from "../world/records.ts";
import { ApiError, internalError } from "./api-error.ts";
import type { CloudStackFault, CloudStackFaultName, CloudStackFaults } from "./faults.ts";

export interface JobOrder {
  readonly command: string;
  readonly accountId: string;
  readonly userId: string;
  readonly instanceType: string;
  readonly instanceId: string;
  /** Jobs with the same one run one after the other. */
  readonly turn: string;
  /** @returns the job's result, under its name: `{volume: {…}}` */
  work(): Promise<object>;
}

interface Job {
  readonly id: string;
  readonly order: JobOrder;
  readonly created: string;
  status: 0 | 1 | 2;
  completed?: string;
  resultCode: number;
  result?: object;
}

const jobFaults: CloudStackFaultName[] = [
  ...(["jobFails", "jobFailsDone", "jobHangs", "jobHangsDone", "jobVanishes"] as const),
  ...(["jobVanishesDone", "jobVanishesLate", "jobForgotten", "slowJob"] as const),
];

export class Jobs {
  readonly #jobs = new Map<string, Job>();
  readonly #forgotten = new Set<string>();
  readonly #turns = new Map<string, Promise<void>>();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #faults: CloudStackFaults;
  readonly #delayMs: number;
  readonly #working = new Set<Promise<void>>();
  #generation = 0;

  constructor(faults: CloudStackFaults, delayMs: number) {
    this.#faults = faults;
    this.#delayMs = delayMs;
  }

  submit(order: JobOrder): string {
    const job: Job = {
      ...{ id: randomUUID(), order, created: timeText(), status: 0, resultCode: 0 },
    };
    this.#jobs.set(job.id, job);
    const fault = this.#faults.take(jobFaults, order.command);
    const run = this.#run(job, fault);
    this.#working.add(run);
    void run.finally(() => this.#working.delete(run));
    return job.id;
  }

  /** Once all have done their work, whatever they answer. */
  async settled(): Promise<void> {
    while (this.#working.size > 0) await Promise.all(this.#working);
  }

  async #run(job: Job, fault: CloudStackFault | undefined): Promise<void> {
    const generation = this.#generation;
    switch (fault?.name) {
      case "jobFails":
        return this.#fail(job, failure(fault));
      case "jobHangs":
        return;
      case "jobVanishes":
        return this.#vanish(job);
      case "jobVanishesLate":
        this.#vanish(job);
        await this.#wait(fault.value ?? 200);
        return void (await this.#work(job, generation));
      case "slowJob":
        await this.#wait(fault.value ?? 1000);
        break;
      default:
        await this.#wait(this.#delayMs);
    }
    const outcome = await this.#work(job, generation);
    if (generation !== this.#generation) return;
    switch (fault?.name) {
      case "jobFailsDone":
        return this.#fail(job, failure(fault));
      case "jobHangsDone":
        return;
      case "jobVanishesDone":
        return this.#vanish(job);
      case "jobForgotten":
        this.#forgotten.add(job.id);
        return;
      default:
        if (outcome instanceof Error) this.#fail(job, outcome);
        else this.#end(job, { status: 1, resultCode: 0, result: outcome });
    }
  }

  /** In its turn. What had not begun at a restart never begins, but for what a host had got already. */
  async #work(job: Job, generation: number): Promise<object | ApiError> {
    const { turn, work } = job.order;
    const before = this.#turns.get(turn) ?? Promise.resolve();
    const outcome = before.then(async (): Promise<object | ApiError> => {
      if (generation !== this.#generation) return internalError("cancelled");
      try {
        return await work();
      } catch (error) {
        return error instanceof ApiError ? error : internalError(String(error));
      }
    });
    this.#turns.set(
      turn,
      outcome.then(() => {}),
    );
    return outcome;
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#timers.delete(timer);
        resolve();
      }, ms);
      this.#timers.add(timer);
    });
  }

  #end(job: Job, ending: Pick<Job, "status" | "resultCode" | "result">): void {
    Object.assign(job, ending, { completed: timeText() });
  }

  #fail(job: Job, error: ApiError): void {
    const { codeInJob: errorcode, message: errortext } = error;
    this.#end(job, { status: 2, resultCode: errorcode, result: { errorcode, errortext } });
  }

  #vanish(job: Job): void {
    this.#end(job, { status: 2, resultCode: 530 });
  }

  /** The management server starts anew: pending jobs are over, and have no result. */
  restart(): void {
    this.#generation++;
    for (const job of this.#jobs.values()) if (job.status === 0) this.#vanish(job);
  }

  /** undefined: there is no such job. */
  describe(id: string): object | undefined {
    const job = this.#jobs.get(id);
    if (job === undefined || this.#forgotten.has(id)) return undefined;
    const { order } = job;
    return {
      accountid: order.accountId,
      userid: order.userId,
      cmd: `org.apache.cloudstack.api.command.user.${order.command}Cmd`,
      jobstatus: job.status,
      jobprocstatus: 0,
      jobresultcode: job.resultCode,
      ...(job.result && { jobresulttype: "object", jobresult: job.result }),
      jobinstancetype: order.instanceType,
      jobinstanceid: order.instanceId,
      created: job.created,
      ...(job.completed && { completed: job.completed }),
      jobid: job.id,
    };
  }

  stop(): void {
    this.#generation++;
    for (const timer of this.#timers) clearTimeout(timer);
  }
}

function failure({ value = 530, text = "Made to fail" }: CloudStackFault): ApiError {
  return new ApiError(value, text);
}
