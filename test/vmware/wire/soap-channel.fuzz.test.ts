/**
 * Good answers of the laboratory's vCenter, mutated at random on their way to the client. Whatever arrives, a
 * call ends in time with a value that is sound or with a typed error, and nothing else in the process changes.
 * MIGRATEKIT_FUZZ_ROUNDS (default 400) and MIGRATEKIT_FUZZ_SEED (default 1) choose more or other mutations.
 */

import assert from "node:assert/strict";
import { request } from "node:https";
import { after, before, test } from "node:test";
import { inspect } from "node:util";
import { MigratekitError } from "../../../src/errors.ts";
import type { VsphereClient } from "../../../src/vmware/vmware.ts";
import { inTime } from "../../fuzz/campaign.ts";
import { mutatedText } from "../../fuzz/text-mutations.ts";
import { Random } from "../../random.ts";
import { makeCertificates } from "../certificates.ts";
import { type LabClient, startLabClient } from "../lab-client.ts";
import { type Call, startScripted } from "../scripted-endpoint.ts";

const rounds = Number(process.env.MIGRATEKIT_FUZZ_ROUNDS ?? 400);
const seed = Number(process.env.MIGRATEKIT_FUZZ_SEED ?? 1);
const callTimeoutMs = 10_000;
const capacityBytes = 4 * 1_048_576 - 512;

let started: LabClient;
const made = makeCertificates();
const untouched = Object.getOwnPropertyNames(Object.prototype).sort();
before(async () => {
  const disks = [{ capacityBytes, fill: { seed: 1, dataRatio: 0.5 } }];
  started = await startLabClient({
    vms: [{ name: "vm", changeTracking: true, disks }],
    areasPerPage: 4,
  });
});
after(async () => {
  made[Symbol.dispose]();
  await started?.[Symbol.asyncDispose]();
});

test(`${rounds} calls with mutated answers (seed ${seed}) end in time with a sound value or a typed error`, async () => {
  const vm = started.lab.vm("vm");
  const spec = { name: "fuzz", description: "", quiesce: false };
  const { moref } = await started.client.createSnapshot(vm.moref, spec);
  const random = new Random(seed);
  const { username, password } = started.lab;
  const credentials = { username, password, requestTimeoutMs: 3_000 };
  let mutateLogin = false;
  await using endpoint = await startScripted(made.selfSigned, (call) => (response) => {
    void forward(started, call).then(({ status, headers, body }) => {
      const isLogin = call.operation === "RetrieveServiceContent" || call.operation === "Login";
      const armed = (mutateLogin || !isLogin) && random.chance(0.7);
      response.writeHead(status, headers).end(armed ? mutatedText(body, "xml", random) : body);
    });
  });
  const calls: readonly ((client: VsphereClient) => Promise<unknown>)[] = [
    (client) => client.readVm(vm.moref),
    (client) => client.findVm(vm.path),
    (client) => client.findVm("/Datacenter/vm/other"),
    (client) => client.snapshotTree(vm.moref),
    (client) => client.readSnapshotDisks(moref),
    (client) => allAreas(client, vm.moref, moref),
    (client) => client.missingPrivileges(vm.moref, ["System.View"]),
    async (client) => {
      const { signal } = new AbortController();
      return await Array.fromAsync((await client.openInventory(undefined, signal)).vms);
    },
    () =>
      inTime(
        endpoint.connect(credentials).then((client) => client.close()),
        callTimeoutMs,
      ),
  ];
  const outcomes = { value: 0, error: 0 };
  const workers = await Promise.all(Array.from({ length: 8 }, () => endpoint.connect(credentials)));
  mutateLogin = true;
  let round = 0;
  const work = async (client: VsphereClient) => {
    while (round++ < rounds) {
      const call = random.pick(calls);
      const outcome = await inTime(call(client), callTimeoutMs).then(() => "value", expected);
      outcomes[outcome === "value" ? "value" : "error"] += 1;
    }
  };
  await Promise.all(workers.map(work));
  await Promise.all(workers.map((client) => client.close()));
  assert.deepEqual(Object.getOwnPropertyNames(Object.prototype).sort(), untouched);
  assert.ok(outcomes.error > 0 && outcomes.value > 0, inspect(outcomes));
});

function expected(error: unknown): undefined {
  assert.ok(error instanceof MigratekitError, `not a typed error: ${inspect(error)}`);
  assert.notEqual(error.code, "bug");
  assert.doesNotMatch(error.message, /[\r\n]/);
  assert.ok(error.message.length < 2_000);
}

/** Even from mutated numbers the areas are orderly and inside the disk. */
async function allAreas(
  client: VsphereClient,
  vmMoref: string,
  snapshotMoref: string,
): Promise<void> {
  const query = { vmMoref, snapshotMoref, deviceKey: 2000, changeId: "*", capacityBytes };
  let end = 0;
  for await (const page of client.changedAreas(query))
    for (let at = 0; at < page.length; at += 2) {
      const [offset = -1, length = -1] = page.subarray(at, at + 2);
      assert.ok(offset >= end && length > 0 && offset + length <= capacityBytes);
      end = offset + length;
    }
}

interface Forwarded {
  readonly status: number;
  readonly headers: Record<string, string | string[]>;
  readonly body: string;
}

/** The lab's answer to a call, in the session of whoever made it. */
function forward({ lab }: LabClient, { envelope, cookie }: Call): Promise<Forwarded> {
  const [hostname, port] = lab.endpoint.split(":");
  const { promise, resolve, reject } = Promise.withResolvers<Forwarded>();
  const headers = { SOAPAction: "urn:vim25/6.7", ...(cookie ? { Cookie: cookie } : {}) };
  const options = {
    hostname,
    port,
    path: "/sdk",
    method: "POST",
    rejectUnauthorized: false,
    headers,
  };
  const call = request(options, (response) => {
    const parts: Buffer[] = [];
    response.on("data", (part: Buffer) => parts.push(part));
    response.on("end", () => {
      const set = response.headers["set-cookie"];
      resolve({
        status: response.statusCode ?? 0,
        headers: set ? { "Set-Cookie": set } : {},
        body: Buffer.concat(parts).toString("utf8"),
      });
    });
  });
  call.on("error", reject);
  call.end(envelope);
  return promise;
}
