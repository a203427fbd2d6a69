/**
 * Tasks: starting one, waiting for it, and finding out what became of it when the answer, the session or the
 * task itself is lost. A lost task is never started again before its effect has been looked for.
 */

import { pause } from "../retry.ts";
import { oneLine } from "../text.ts";
import { nameOtherTask, percentOf, readTaskInfo, runningTasks } from "./task-info.ts";
import {
  EndpointError,
  faultOfLocalized,
  isGarbled,
  isVimFault,
  kindOf,
  VimFault,
} from "./wire/faults.ts";
import { type Arguments, argumentReference } from "./wire/soap-channel.ts";
import {
  type ObjectReference,
  optionalObject,
  optionalReference,
  protocolError,
  reference,
  text,
} from "./wire/values.ts";
import type { Session } from "./wire/wire.ts";

export interface TaskRequest<Outcome> {
  readonly operation: string;
  readonly args: Arguments;
  /** The virtual machine that the task works on. */
  readonly vmMoref: string;
  /** What the task did, from its result. */
  readonly outcomeOf: (result: ObjectReference | undefined) => Outcome;
  /** Whether it took effect, looked up on the machine itself; `undefined` when not. */
  readonly lookUp: () => Promise<Outcome | undefined>;
  readonly onTask?: ((taskMoref: string) => void) | undefined;
  /** 0 to 100, whenever it changes. */
  readonly onProgress?: ((percent: number) => void) | undefined;
  /** Faults that the caller has an answer to: they are not waited out. */
  readonly isFinal?: ((fault: VimFault) => boolean) | undefined;
  /** Stops waiting; the task goes on (see `cancelTask`). */
  readonly signal?: AbortSignal | undefined;
  /** Called when an abort leaves a task to itself: `taskMoref`, or one that may have been started. */
  readonly onAbandoned?: ((taskMoref: string | undefined) => Promise<void>) | undefined;
  /** Another task that is in the way is not waited for much longer than this. */
  readonly hurry?: AbortSignal | undefined;
}

/**
 * Rejects with the `VimFault` that the task ended with. While another task is in the way, or the host is away, it
 * is tried again; before that its effect is looked for, as it is whenever a try ended without an answer.
 */
export async function runTask<Outcome>(
  session: Session,
  request: TaskRequest<Outcome>,
): Promise<Outcome> {
  let tried = false;
  return await whenFree(session, request, async () => {
    const done = tried ? await request.lookUp() : undefined;
    tried = true;
    return done ?? (await tryTask(session, request));
  });
}

/** Does `work`, which changes something on the machine, again while another task is in the way or the host away. */
export async function whenFree<T>(
  session: Session,
  request: Pick<TaskRequest<T>, "vmMoref" | "isFinal" | "signal" | "hurry">,
  work: () => Promise<T>,
): Promise<T> {
  const { vmMoref, isFinal = () => false, signal, hurry } = request;
  const mayPass = (fault: VimFault, failures: number) =>
    !isFinal(fault) && passesForChanges(fault, failures);
  const findOther = (fault: VimFault) => nameOtherTask(session, vmMoref, fault, signal);
  return await session.patience.outlast(work, { mayPass, findOther, signal, hurry });
}

/** A task that failed for no reason of another's may have begun something: it is not repeated for long. */
function passesForChanges(fault: VimFault, failures: number): boolean {
  const kind = kindOf(fault);
  return kind === "busy" || kind === "away" || (fault.fault === "SystemError" && failures <= 2);
}

/**
 * Starts the task and waits for it. One that vanished without an effect (a restart of the vCenter takes its list
 * of tasks along) is started a second time.
 */
async function tryTask<Outcome>(session: Session, request: TaskRequest<Outcome>): Promise<Outcome> {
  request.signal?.throwIfAborted();
  let task: ObjectReference | undefined;
  try {
    for (let attempt = 1; attempt <= 2; attempt++) {
      const started = await start(session, request);
      if ("outcome" in started) return started.outcome;
      task = started.task;
      request.onTask?.(task.moref);
      const ended = await waitForTask(session, task, request);
      if (ended !== "vanished") return request.outcomeOf(ended.result);
      session.logger.warn(
        `${request.operation} vanished from the task list; looking for its effect`,
      );
      const outcome = await settle(session, request);
      if (outcome !== undefined) return outcome;
    }
  } catch (error) {
    // A fault says how the task ended; after anything else an abort leaves behind what may yet take effect.
    if (request.signal?.aborted && !(error instanceof VimFault))
      await request.onAbandoned?.(task?.moref);
    throw error;
  }
  throw new VimFault("ManagedObjectNotFound", "the task vanished and left no effect");
}

/** Asks for an end; the task may come to its own all the same. @throws VimFault, EndpointError */
export async function cancelTask(session: Session, taskMoref: string): Promise<void> {
  await session.send("CancelTask", { _this: argumentReference("Task", taskMoref) });
}

/** Waits for one task by its moref. `vanished`: the endpoint no longer knows it. */
export async function waitForTask(
  session: Session,
  task: ObjectReference,
  options: Pick<TaskRequest<unknown>, "onProgress" | "signal">,
): Promise<{ result: ObjectReference | undefined } | "vanished"> {
  let reported = -1;
  let strange = 0;
  for (let pauseMs = 100; ; pauseMs = Math.min(pauseMs * 1.5, 1_000)) {
    const info = await readTaskInfo(session, task, options.signal);
    if (info === undefined) return "vanished";
    const percent = percentOf(info);
    if (percent !== undefined && percent !== reported) {
      reported = percent;
      options.onProgress?.(percent);
    }
    const state = text(info, "state");
    if (state === "success") return { result: resultOf(info) };
    if (state === "error") throw faultOfLocalized(optionalObject(info, "error"));
    // Like any answer that makes no sense, one is forgiven; a state that stays unknown never ends.
    if (state !== "queued" && state !== "running" && ++strange > 2)
      throw protocolError(
        `${task.moref} is in the state "${oneLine(state, 60)}", which no task has`,
      );
    await pause(pauseMs, options.signal);
  }
}

async function start<Outcome>(
  session: Session,
  request: TaskRequest<Outcome>,
): Promise<{ task: ObjectReference } | { outcome: Outcome }> {
  const { operation, args, signal } = request;
  // An abort does not cut this call off: a task that may or may not have been started is worse than a wait.
  const send = async () => ({ task: reference(await session.send(operation, args), "returnval") });
  try {
    return await send();
  } catch (error) {
    if (!isUncertain(error)) throw error;
    session.logger.warn(`${operation} got no answer (${error.message}); looking for its effect`);
  }
  await session.reachable(signal);
  const outcome = await settle(session, request);
  return outcome === undefined ? await send() : { outcome };
}

/** A refused session did nothing, but costs nothing to look either. */
function isUncertain(error: unknown): error is Error {
  return (
    error instanceof EndpointError || isVimFault(error, "NotAuthenticated") || isGarbled(error)
  );
}

/**
 * Looks for the effect until it shows or until the machine has had no running task twice in a row: a
 * restarted vCenter forgets tasks that the ESXi host is still working on.
 */
export async function settle<Outcome>(
  session: Session,
  request: Pick<TaskRequest<Outcome>, "vmMoref" | "lookUp" | "signal">,
): Promise<Outcome | undefined> {
  const deadline = performance.now() + settleLimitMs;
  for (let quiet = 0; quiet < 2 && performance.now() < deadline; ) {
    const outcome = await request.lookUp();
    if (outcome !== undefined) return outcome;
    quiet = (await hasRunningTask(session, request.vmMoref)) ? 0 : quiet + 1;
    await pause(500, request.signal);
  }
  return await request.lookUp();
}

/** Consolidation on removal may take long; a lost answer is not worth waiting longer for. */
const settleLimitMs = 15 * 60_000;

async function hasRunningTask(session: Session, vmMoref: string): Promise<boolean> {
  return (await runningTasks(session, vmMoref)).length > 0;
}

/** Tasks of interest result in an object reference or in nothing. */
function resultOf(info: object): ObjectReference | undefined {
  return optionalReference(info, "result");
}
