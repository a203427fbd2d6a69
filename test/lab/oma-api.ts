/**
 * Stand-in of the OMA change-ID API: in memory, keyed by VM path and disk. A job belongs to a VM; the
 * real one looks that up in its table of replications, this one is told by `registerJob`.
 */
import { type ApiReply, type ApiRequest, type ApiServer, startApiServer } from "./api-server.ts";

export interface OmaApiOptions {
  readonly port?: number;
  /** Job ID to VM path. */
  readonly jobs?: Readonly<Record<string, string>>;
  /** Binds a job nobody registered to the VM whose change ID was asked for last. [true] */
  readonly adoptJobs?: boolean;
  /** How "none" is said: HTTP 404, or 200 with an empty string. ["empty"] */
  readonly whenNone?: "404" | "empty";
}

export interface OmaCall {
  readonly method: string;
  readonly arrivedAtMs: number;
  readonly vmPath: string | undefined;
  readonly jobId: string | undefined;
  readonly diskId: string;
  /** On POST. */
  readonly changeId?: string;
  readonly previousChangeId?: string;
}

export interface OmaApiLab extends ApiServer {
  /** Well-formed calls that took effect or were answered, in their order. */
  readonly calls: readonly OmaCall[];
  /** Calls that broke the contract, in words. */
  readonly violations: readonly string[];
  registerJob(jobId: string, vmPath: string): void;
  changeId(vmPath: string, diskId: string): string | undefined;
  setChangeId(vmPath: string, diskId: string, changeId: string | undefined): void;
  setWhenNone(how: "404" | "empty"): void;
  /** POSTs are answered 200 and forgotten. */
  setForgetful(forgetful: boolean): void;
}

export async function startOmaApi(options: OmaApiOptions = {}): Promise<OmaApiLab> {
  const jobs = new Map(Object.entries(options.jobs ?? {}));
  const changeIds = new Map<string, string>();
  const calls: OmaCall[] = [];
  const violations: string[] = [];
  let whenNone = options.whenNone ?? "empty";
  let forgetful = false;
  let askedLast: string | undefined;

  const read = (request: ApiRequest): ApiReply => {
    const vmPath = request.query.get("vm_path");
    const diskId = request.query.get("disk_id");
    if (!vmPath || !diskId) return breach("GET without vm_path or disk_id");
    askedLast = vmPath;
    calls.push({
      method: "GET",
      arrivedAtMs: request.arrivedAtMs,
      vmPath,
      jobId: undefined,
      diskId,
    });
    const changeId = changeIds.get(key(vmPath, diskId));
    if (changeId === undefined && whenNone === "404") {
      return { status: 404, body: { error: "no change ID" } };
    }
    return { status: 200, body: { change_id: changeId ?? "" } };
  };

  const write = (jobId: string, request: ApiRequest): ApiReply => {
    const body = parseBody(request.text);
    if (typeof body === "string") return breach(`POST for ${jobId}: ${body}`);
    const adopted = options.adoptJobs === false ? undefined : askedLast;
    const vmPath = jobs.get(jobId) ?? adopted;
    if (vmPath === undefined) return { status: 404, body: { error: "no such replication job" } };
    jobs.set(jobId, vmPath);
    calls.push({ method: "POST", arrivedAtMs: request.arrivedAtMs, vmPath, jobId, ...body });
    if (!forgetful) changeIds.set(key(vmPath, body.diskId), body.changeId);
    return { status: 200, body: { success: true } };
  };

  const breach = (what: string): ApiReply => {
    violations.push(what);
    return { status: 400, body: { error: what } };
  };

  const server = await startApiServer((request) => {
    const [api, version, replications, second, third, ...rest] = request.path;
    const known = api === "api" && version === "v1" && replications === "replications";
    if (known && request.method === "GET" && second === "changeid" && third === undefined) {
      return read(request);
    }
    if (known && request.method === "POST" && third === "changeid" && second && !rest.length) {
      return write(second, request);
    }
    return { status: 404, body: { error: "not found" } };
  }, options);

  return Object.assign(server, {
    calls,
    violations,
    registerJob: (jobId: string, vmPath: string) => void jobs.set(jobId, vmPath),
    changeId: (vmPath: string, diskId: string) => changeIds.get(key(vmPath, diskId)),
    setChangeId(vmPath: string, diskId: string, changeId: string | undefined) {
      if (changeId === undefined) changeIds.delete(key(vmPath, diskId));
      else changeIds.set(key(vmPath, diskId), changeId);
    },
    setWhenNone(how: "404" | "empty") {
      whenNone = how;
    },
    setForgetful(value: boolean) {
      forgetful = value;
    },
  });
}

function key(vmPath: string, diskId: string): string {
  return JSON.stringify([vmPath, diskId]);
}

/** The fields of a POST, or what is wrong with them. */
function parseBody(
  text: string,
): { diskId: string; changeId: string; previousChangeId: string } | string {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return "the body is not JSON";
  }
  const fields: Record<string, unknown> = typeof body === "object" ? { ...body } : {};
  const { change_id: changeId, disk_id: diskId, previous_change_id: previous } = fields;
  if (typeof changeId !== "string" || changeId === "") return "change_id is missing";
  if (typeof diskId !== "string" || !/^disk-\d+$/.test(diskId)) return `disk_id is ${diskId}`;
  if (previous !== undefined && previous !== null && typeof previous !== "string") {
    return "previous_change_id is no string";
  }
  return { diskId, changeId, previousChangeId: previous ?? "" };
}
