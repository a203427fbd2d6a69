/** What vSphere tells of tasks: of one, and of those that are under way on a machine. */

import { oneLine } from "../text.ts";
import { isVimFault, type VimFault } from "./wire/faults.ts";
import { retrieveObject } from "./wire/retrieve-properties.ts";
import {
  list,
  type ObjectReference,
  object,
  optionalInteger,
  optionalObject,
  optionalText,
  referenceValue,
  text,
} from "./wire/values.ts";
import type { Session } from "./wire/wire.ts";

/** The `TaskInfo` of each of the machine's recent tasks that has not ended. */
export async function runningTasks(
  session: Session,
  vmMoref: string,
  signal?: AbortSignal,
): Promise<object[]> {
  const vm = { type: "VirtualMachine", moref: vmMoref };
  const found = await retrieveObject(session, vm, ["recentTask"], signal);
  const recent = optionalObject(found.get("recentTask"), "val");
  const running: object[] = [];
  for (const value of list(recent, "ManagedObjectReference")) {
    const info = await readTaskInfo(session, referenceValue(value, "recentTask"), signal);
    if (info && isUnderWay(info)) running.push(info);
  }
  return running;
}

function isUnderWay(info: object): boolean {
  return ["queued", "running"].includes(text(info, "state"));
}

const nameTimeoutMs = 3_000;

/** `VirtualMachine.relocate of "db 01" by backup, 34 %`; undefined where vSphere does not tell in a moment. */
export async function nameOtherTask(
  session: Session,
  vmMoref: string,
  fault: VimFault,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const timeout = AbortSignal.timeout(nameTimeoutMs);
  const either = signal ? AbortSignal.any([signal, timeout]) : timeout;
  try {
    const task = { type: "Task", moref: fault.taskMoref ?? "" };
    const told = fault.taskMoref ? await readTaskInfo(session, task, either) : undefined;
    if (told && isUnderWay(told)) return describeTask(told);
    const [info] = await runningTasks(session, vmMoref, either);
    return info && describeTask(info);
  } catch {
    signal?.throwIfAborted();
    return undefined; // it is only a name
  }
}

function describeTask(info: object): string {
  const what =
    optionalText(optionalObject(info, "description"), "message") ??
    optionalText(info, "descriptionId") ??
    optionalText(info, "name") ??
    "a task";
  const entity = optionalText(info, "entityName");
  const user = optionalText(optionalObject(info, "reason"), "userName");
  const percent = percentOf(info);
  const parts = [
    what,
    ...(entity === undefined ? [] : [`of "${entity}"`]),
    ...(user === undefined ? [] : [`by ${user}`]),
  ];
  return oneLine(`${parts.join(" ")}${percent === undefined ? "" : `, ${percent} %`}`, 200);
}

/** Undefined: the endpoint no longer knows it. */
export async function readTaskInfo(
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

/** 0 to 100, where the task says so. */
export function percentOf(info: object): number | undefined {
  const percent = optionalInteger(info, "progress");
  return percent === undefined ? undefined : Math.min(Math.max(percent, 0), 100);
}
