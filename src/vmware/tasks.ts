/**
 * Tasks: starting one, waiting for it, and finding out what became of it when the answer, the session or the
 * task itself is lost. A lost task is never started again before its effect has been looked for.
 */

import { pause } from "../retry.ts";
import { oneLine } from "../text.ts";
import { EndpointError, faultOfLocalized, isGarbled, isVimFault, VimFault } from "./wire/faults.ts";
import { retrieveObject } from "./wire/retrieve-properties.ts";
import { type Arguments, argumentReference } from "./wire/soap-channel.ts";
import {
  list,
  type ObjectReference,
  object,
  optionalInteger,
  optionalObject,
  optionalReference,
  protocolError,
  reference,
  referenceValue,
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
  /** Stops waiting; the task goes on (see `cancelTask`). */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Rejects with the `VimFault` that the task ended with. One that vanished without an effect (a restart of the
 * vCenter takes its list of tasks along) is started a second time.
 */
export async function runTask<Outcome>(
  session: Session,
  request: TaskRequest<Outcome>,
): Promise<Outcome> {
  for (let attempt = 1; attempt <= 2; attempt++) {
    const started = await start(session, request);
    if ("outcome" in started) return started.outcome;
    request.onTask?.(started.task.moref);
    const ended = await waitForTask(session, started.task, request);
    if (ended !== "vanished") return request.outcomeOf(ended.result);
    session.logger.warn(`${request.operation} vanished from the task list; looking for its effect`);
    const outcome = await settle(session, request);
    if (outcome !== undefined) return outcome;
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
  signal?.throwIfAborted();
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
  const vm = { type: "VirtualMachine", moref: vmMoref };
  const recent = (await retrieveObject(session, vm, ["recentTask"])).get("recentTask");
  for (const value of list(optionalObject(recent, "val"), "ManagedObjectReference")) {
    const info = await readTaskInfo(session, referenceValue(value, "recentTask"));
    if (info && ["queued", "running"].includes(text(info, "state"))) return true;
  }
  return false;
}

async function readTaskInfo(
  session: Session,
  { moref }: ObjectReference,
  signal?: AbortSignal,
): Promise<object | undefined> {
  try {
    const task = await retrieveObject(session, { type: "Task", moref }, ["info"], signal);
    return object(task.get("info"), "val");
  } catch (error) {
    if (isVimFault(error, "ManagedObjectNotFound")) return undefined;
    throw error;
  }
}

function percentOf(info: object): number | undefined {
  const percent = optionalInteger(info, "progress");
  return percent === undefined ? undefined : Math.min(Math.max(percent, 0), 100);
}

/** Tasks of interest result in an object reference or in nothing. */
function resultOf(info: object): ObjectReference | undefined {
  return optionalReference(info, "result");
}
