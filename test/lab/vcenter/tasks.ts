/** Task objects: asynchronous work with a state, a progress and an ending that clients can watch. */

import type { FaultBoard } from "./fault-board.ts";
import { faultNumber } from "./fault-board.ts";
import type { LabVm } from "./lab-vm.ts";
import type { ManagedObject } from "./managed-object.ts";
import { inventoryName } from "./records.ts";
import { requestedFault, VimFault } from "./vim-fault.ts";
import { Moref, Typed, type VimObject, type VimValue, vimObject } from "./vim-values.ts";

type TaskState = "queued" | "running" | "success" | "error";

export interface TaskWork {
  /** Method name without `_Task`, for example `CreateSnapshot`. */
  name: string;
  /** As vCenter describes it, `VirtualMachine.createSnapshot`. */
  descriptionId: string;
  vm: LabVm;
  user: string;
  /** Usual duration, half before and half after `run`. */
  durationMs: number;
  cancelable?: boolean;
  /** The effect, in the middle of the duration. Throws `VimFault` to fail the task. */
  run(): Promise<VimValue | undefined>;
}

export interface TaskEnvironment {
  readonly faults: FaultBoard;
  nextNumber(): number;
  /** Wakes those who wait for updates. */
  changed(): void;
}

const finishedKept = 200;

export class Task implements ManagedObject {
  readonly ref: Moref;
  readonly work: TaskWork;
  state: TaskState = "queued";
  progress: number | undefined;
  cancelled = false;
  readonly #queueTime = new Date();
  #startTime: Date | undefined;
  #completeTime: Date | undefined;
  #result: VimValue | undefined;
  #error: VimFault | undefined;

  constructor(ref: Moref, work: TaskWork) {
    this.ref = ref;
    this.work = work;
  }

  property(name: string): VimValue | undefined {
    return name === "info" ? this.info() : undefined;
  }

  start(): void {
    this.state = "running";
    this.progress = 0;
    this.#startTime = new Date();
  }

  finish(result: VimValue | undefined, error: VimFault | undefined): void {
    this.#result = result;
    this.#error = error;
    this.#completeTime = new Date();
    this.state = error ? "error" : "success";
    this.progress = error ? this.progress : undefined;
  }

  info(): VimObject {
    const { vm, name, descriptionId, user } = this.work;
    const result = this.#result;
    return vimObject("TaskInfo", {
      key: this.ref.value,
      task: this.ref,
      name: `${name}_Task`,
      descriptionId,
      entity: new Moref("VirtualMachine", vm.moref),
      entityName: inventoryName(vm.name),
      state: this.state,
      cancelled: this.cancelled,
      cancelable: this.work.cancelable === true && this.state !== "success",
      error: this.#error?.localized(),
      result: result instanceof Moref ? new Typed("moref", result) : undefined,
      progress: this.progress,
      reason: vimObject("TaskReasonUser", { userName: user }),
      queueTime: this.#queueTime,
      startTime: this.#startTime,
      completeTime: this.#completeTime,
      eventChainId: 1000 + Number(this.ref.value.replace(/\D/g, "")),
    });
  }
}

export class TaskList {
  readonly #tasks = new Map<string, Task>();
  readonly #running = new Set<Promise<void>>();
  readonly #environment: TaskEnvironment;
  #stopped = false;

  constructor(environment: TaskEnvironment) {
    this.#environment = environment;
  }

  find(moref: string): Task | undefined {
    return this.#tasks.get(moref);
  }

  all(): Task[] {
    return [...this.#tasks.values()];
  }

  start(work: TaskWork): Moref {
    const task = new Task(new Moref("Task", `task-${this.#environment.nextNumber()}`), work);
    this.#tasks.set(task.ref.value, task);
    work.vm.recentTasks.push(task.ref.value);
    if (work.vm.recentTasks.length > 10) work.vm.recentTasks.shift();
    const done = work.vm.tasks.run(() => this.#perform(task));
    this.#running.add(done);
    void done.finally(() => this.#running.delete(done));
    return task.ref;
  }

  /** Takes back what has not had its effect yet. */
  cancel(task: Task): void {
    task.cancelled = true;
    this.#environment.changed();
  }

  /** Lets running tasks end quickly and waits for them. */
  async stop(): Promise<void> {
    this.#stopped = true;
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  async #perform(task: Task): Promise<void> {
    const { work } = task;
    const durationMs = this.#durationOf(work);
    task.start();
    this.#environment.changed();
    let result: VimValue | undefined;
    let failure: VimFault | undefined;
    try {
      await this.#spend(task, durationMs / 2, 0);
      if (task.cancelled) {
        throw new VimFault("RequestCanceled", "The task was canceled by a user.");
      }
      const place = { vm: work.vm.name, method: `${work.name}_Task` };
      const struck = this.#environment.faults.take("taskFault", place);
      if (struck) throw requestedFault(struck.fault, undefined);
      result = await work.run();
      await this.#spend(task, durationMs / 2, 50);
    } catch (error) {
      failure =
        error instanceof VimFault
          ? error
          : new VimFault("SystemError", `A general system error occurred: ${error}`, {
              reason: String(error),
            });
    }
    task.finish(result, failure);
    const vanished = this.#environment.faults.take("vanishedTask", {
      vm: work.vm.name,
      method: `${work.name}_Task`,
    });
    if (vanished) this.#tasks.delete(task.ref.value);
    this.#forgetOld();
    this.#environment.changed();
  }

  /** Half the duration, in steps short enough to notice a cancellation; progress runs through 49 percent. */
  async #spend(task: Task, milliseconds: number, fromPercent: number): Promise<void> {
    const steps = Math.max(5, Math.ceil(milliseconds / 100));
    for (let step = 1; step <= steps; step += 1) {
      if (this.#stopped || (task.cancelled && fromPercent === 0)) return;
      await new Promise((resolve) => setTimeout(resolve, milliseconds / steps));
      task.progress = fromPercent + Math.floor((step * 49) / steps);
      this.#environment.changed();
    }
  }

  #durationOf(work: TaskWork): number {
    const { faults } = this.#environment;
    const place = { vm: work.vm.name, method: `${work.name}_Task` };
    const slowSnapshot =
      work.name === "CreateSnapshot" ? faults.take("slowSnapshot", place) : undefined;
    return faultNumber(slowSnapshot ?? faults.take("slowTasks", place), work.durationMs);
  }

  #forgetOld(): void {
    for (const [moref, task] of this.#tasks) {
      if (this.#tasks.size <= finishedKept) return;
      if (task.state === "success" || task.state === "error") this.#tasks.delete(moref);
    }
  }
}
