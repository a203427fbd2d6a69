// The vSphere client against answers that were recorded from the laboratory's vCenter and are
// changed on their way: by content, by envelope, by HTTP, by connection.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, request } from "node:https";
import { inspect } from "node:util";
import { pino } from "pino";
import { MigratekitError } from "../../src/errors.ts";
import { VsphereClient } from "../../src/vmware/vmware.ts";
import { Random } from "../random.ts";
import { makeCertificates } from "../vmware/certificates.ts";
import { startLabClient } from "../vmware/lab-client.ts";
import { type FuzzRun, inTime, type Outcome } from "./campaign.ts";
import { type GoodAnswer, mischievousAnswer, type RawAnswer, whole } from "./http-mischief.ts";
import { type RawRequest, startRawServer } from "./http-server.ts";

const runTimeoutMs = 60_000;
const capacityBytes = 4 * 1_048_576 - 512;
const password = "fuzz-S3cret-marker";
const made = makeCertificates();

/** Answers by request body: replayed, they need no vCenter. */
type Recording = Map<string, GoodAnswer>;
type Work = (client: VsphereClient, signal: AbortSignal) => Promise<unknown>;

/** A task may be said to run for ever; then the operator's patience ends the wait. */
class Impatience extends Error {}
const patienceMs = 8_000;

export interface VsphereFuzz extends AsyncDisposable {
  readonly run: FuzzRun;
}

export async function startVsphereFuzz(): Promise<VsphereFuzz> {
  const { recording, works } = await record();
  let visits = 0;
  const trap = await startRawServer(() => {
    visits += 1;
    return { bytes: Buffer.alloc(0), after: "close" };
  });
  const trapUrl = `http://127.0.0.1:${trap.port}/sdk`;
  return {
    run: async (index, seed) => {
      const random = new Random(seed * 1_000_003 + index);
      const probability = random.pick([0.1, 0.3, 0.7, 1]);
      const mutate = (good: GoodAnswer, fixed: boolean): RawAnswer =>
        !fixed && random.chance(probability)
          ? mischievousAnswer(good, "xml", random, trapUrl)
          : whole(good);
      const login = random.chance(0.2);
      const outcome = await inTime(
        attempt(recording, random.pick(works), mutate, login),
        runTimeoutMs,
      );
      assert.equal(visits, 0, "a redirect was followed");
      return outcome;
    },
    async [Symbol.asyncDispose]() {
      await trap[Symbol.asyncDispose]();
      made[Symbol.dispose]();
    },
  };
}

async function attempt(
  recording: Recording,
  work: Work,
  mutate: (good: GoodAnswer, fixed: boolean) => RawAnswer,
  mutateLogin: boolean,
): Promise<Outcome> {
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(new Impatience()), patienceMs);
  await using server = await startRawServer(({ body }) => {
    const login = /<(\w+:)?(Login|RetrieveServiceContent)[ >]/.test(body);
    return mutate(answerIn(recording, body), login && !mutateLogin);
  }, made.selfSigned);
  try {
    await using client = await connect(server.port);
    await work(client, patience.signal);
    return "value";
  } catch (error) {
    if (!(error instanceof Impatience)) judge(error);
    return "error";
  } finally {
    clearTimeout(timer);
  }
}

function judge(error: unknown): void {
  if (!(error instanceof MigratekitError)) throw error;
  assert.notEqual(error.code, "bug");
  assert.doesNotMatch(error.message, /\p{Cc}/u);
  assert.ok(error.message.length < 2_000, `${error.message.length} characters`);
  assert.ok(!inspect(error, { depth: 6 }).includes(password), "the password is in the error");
}

function connect(port: number): Promise<VsphereClient> {
  return VsphereClient.connect({
    host: "127.0.0.1",
    port,
    username: "admin@vsphere.local",
    password,
    trust: { thumbprint: made.selfSigned.sha256 },
    logger: pino({ level: "silent" }),
    keepAliveMs: 0,
    requestTimeoutMs: 1_000,
    outageMs: 0,
    busyMs: 0,
  });
}

const nothingLikeIt: GoodAnswer = { status: 500, headers: {}, body: "not recorded" };

function answerIn(recording: Recording, body: string): GoodAnswer {
  return recording.get(body) ?? recording.get(operationOf(body)) ?? nothingLikeIt;
}

function operationOf(body: string): string {
  return /:Body><(?:\w+:)?(\w+)/.exec(body)?.[1] ?? "";
}

/** Lets the client do everything once against the laboratory, through a server that writes down the answers. */
async function record(): Promise<{ recording: Recording; works: Work[] }> {
  const disks = [{ capacityBytes, fill: { seed: 1, dataRatio: 0.5 } }];
  await using started = await startLabClient({
    password,
    vms: [{ name: "vm", changeTracking: true, disks }],
    areasPerPage: 4,
  });
  const { lab } = started;
  const vm = lab.vm("vm");
  const recording: Recording = new Map();
  const [host = "", port] = lab.endpoint.split(":");
  let cookie = "";
  const forward = ({ body, head }: RawRequest): Promise<GoodAnswer> => {
    const { promise, resolve, reject } = Promise.withResolvers<GoodAnswer>();
    const action = /^soapaction: *(.*)$/im.exec(head)?.[1] ?? "";
    const headers = { SOAPAction: action, ...(cookie ? { Cookie: cookie } : {}) };
    const call = request({
      host,
      port,
      path: "/sdk",
      method: "POST",
      rejectUnauthorized: false,
      headers,
    });
    call.on("error", reject);
    call.on("response", async (response) => {
      const parts: Buffer[] = [];
      for await (const part of response) parts.push(part as Buffer);
      const set = response.headers["set-cookie"]?.[0];
      if (set) cookie = set.split(";")[0] ?? "";
      resolve({
        status: response.statusCode ?? 0,
        headers: {
          "Content-Type": "text/xml; charset=utf-8",
          ...(set ? { "Set-Cookie": set } : {}),
        },
        body: Buffer.concat(parts).toString("utf8"),
      });
    });
    call.end(body);
    return promise;
  };
  await using recorder = await startRecorder(forward, recording);
  await using client = await connect(recorder.port);
  const spec = { name: "fuzz", description: "", quiesce: false };
  const { moref } = await client.createSnapshot(vm.moref, spec);
  const works: Work[] = [
    (c) => c.readVm(vm.moref),
    (c) => c.findVm(vm.path),
    (c) => c.findVm("/Datacenter/vm/other"),
    (c) => c.snapshotTree(vm.moref),
    (c) => c.readSnapshotDisks(moref),
    (c) => allAreas(c, vm.moref, moref),
    (c) => c.missingPrivileges(vm.moref, ["System.View"]),
    (c) => c.readPowerState(vm.moref),
    async (c, signal) => Array.fromAsync((await c.openInventory(undefined, signal)).vms),
    (c, signal) => c.enableChangeTracking(vm.moref, signal),
    (c, signal) => c.createSnapshot(vm.moref, spec, { signal }),
    (c, signal) => c.removeSnapshot(moref, { signal }),
    async () => {},
  ];
  const { signal } = new AbortController();
  for (const work of works) await work(client, signal).catch(judge);
  return { recording, works };
}

/** Answers each request when the laboratory has. */
async function startRecorder(
  forward: (request: RawRequest) => Promise<GoodAnswer>,
  recording: Recording,
) {
  const { key, cert } = made.selfSigned;
  const server = createServer({ key, cert }, async (incoming, response) => {
    const parts: Buffer[] = [];
    for await (const part of incoming) parts.push(part as Buffer);
    const body = Buffer.concat(parts).toString("utf8");
    const answer = await forward({ head: `SOAPAction: ${incoming.headers.soapaction}`, body });
    // Of equal requests the last answer counts: there a task has come to its end.
    recording.set(body, answer);
    recording.set(operationOf(body), answer);
    response.writeHead(answer.status, answer.headers).end(answer.body);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  return {
    port: (server.address() as { port: number }).port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Even from mutated numbers the areas are orderly, inside the disk and without a gap between pages. */
async function allAreas(client: VsphereClient, vmMoref: string, snapshotMoref: string) {
  const query = { vmMoref, snapshotMoref, deviceKey: 2000, changeId: "*", capacityBytes };
  let end = 0;
  for await (const page of client.changedAreas(query))
    for (let at = 0; at < page.length; at += 2) {
      const [offset = -1, length = -1] = page.subarray(at, at + 2);
      if (offset < end || length <= 0 || offset + length > capacityBytes)
        throw new Error(`an area [${offset}, ${length}] after ${end}`);
      end = offset + length;
    }
}
