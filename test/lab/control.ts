// The laboratory's one control API: what concerns targets, VDDK and the APIs is done here, all else
// (guest writes, vSphere faults, machines) is passed on to the simulator's own control server.

import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import type { ApiFault, ApiServer } from "./api-server.ts";
import type { CloudStackLab } from "./cloudstack/cloudstack.ts";
import { cloudStackRoutes } from "./cloudstack/control-routes.ts";
import { describeLab } from "./describe.ts";
import type { Lab } from "./start-lab.ts";
import type { LabVm } from "./vcenter/lab-vm.ts";
import type { VddkFaults } from "./vddk/install.ts";

export interface LabControl extends AsyncDisposable {
  readonly url: string;
}

type Fields = Record<string, unknown>;
type Route = (lab: Lab, fields: Fields, controlUrl: string) => unknown;

function vmOf(lab: Lab, fields: Fields): LabVm {
  return lab.vm(String(fields.vm));
}

async function compare(lab: Lab, fields: Fields) {
  const vm = vmOf(lab, fields);
  const keys = fields.key === undefined ? vm.disks.map((d) => d.record.key) : [Number(fields.key)];
  const snapshot = fields.snapshot === undefined ? undefined : String(fields.snapshot);
  const disks = [];
  for (const key of keys) disks.push({ key, ...(await lab.compareDisk(vm, key, snapshot)) });
  return { equal: disks.every(({ equal }) => equal), disks };
}

/** stop, kill and restart of everything in `things`, as one route each. */
function lifeRoutes(
  name: string,
  things: (lab: Lab) => readonly { stop(): unknown; kill(): unknown; restart(): unknown }[],
): Record<string, Route> {
  const actions = ["stop", "kill", "restart"] as const;
  return Object.fromEntries(
    actions.map((action) => [
      `POST /${name}/${action}`,
      async (lab: Lab) => {
        for (const thing of things(lab)) await thing[action]();
      },
    ]),
  );
}

/** {kind, …} sets a fault of an API (see api-server.ts), {} takes it away; refuse closes the port. */
function apiRoutes(name: string, api: (lab: Lab) => ApiServer): Record<string, Route> {
  return {
    [`POST /${name}/fault`]: (lab, fields) =>
      api(lab).setFault(fields.kind === undefined ? undefined : (fields as unknown as ApiFault)),
    [`POST /${name}/refuse`]: (lab) => api(lab).refuse(),
    [`POST /${name}/accept`]: (lab) => api(lab).accept(),
  };
}

function cloudOf({ cloudStack }: Lab): CloudStackLab {
  if (!cloudStack) throw new Error("this laboratory has no CloudStack");
  return cloudStack;
}

/** All that is below /cloudstack. */
const cloudRoutes: Readonly<Record<string, Route>> = Object.fromEntries(
  Object.entries(cloudStackRoutes).map(([place, route]) => [
    place.replace(" /", " /cloudstack/").replace(/\/$/, ""),
    (lab: Lab, fields: Fields) => route(cloudOf(lab), fields),
  ]),
);

const routes: Readonly<Record<string, Route>> = {
  "GET /lab": (lab, _fields, url) => describeLab(lab, url),
  /** ?vm[&key][&snapshot]: targets against the newest (or that) snapshot, by cmp */
  "GET /compare": compare,
  /** All faults of the stand-in VDDK at once (see VddkFaults); {} heals it */
  "POST /vddk/faults": (lab, fields) => lab.vddk.setFaults(fields as VddkFaults),
  "GET /vddk/use": (lab) => lab.vddk.readUse(),
  /** The ESXi host loses all its connections */
  "POST /nfc/drop": (lab) => lab.nfc.dropAll(),
  /** {silent}: port 902 accepts and does not greet */
  "POST /nfc/silent": (lab, fields) => lab.nfc.setSilent(fields.silent !== false),
  ...lifeRoutes("target", (lab) => lab.targets.servers),
  ...lifeRoutes("tunnel", (lab) => (lab.targets.tunnel ? [lab.targets.tunnel] : [])),
  /** {vm}: its volumes are empty again */
  "POST /target/reset": (lab, fields) => lab.targets.reset(vmOf(lab, fields)),
  /** {vm, key, capacityBytes} */
  "POST /target/resize": (lab, fields) =>
    lab.targets.resize(vmOf(lab, fields), Number(fields.key), Number(fields.capacityBytes)),
  ...cloudRoutes,
  ...apiRoutes("vma", (lab) => lab.vma),
  ...apiRoutes("oma", (lab) => lab.oma),
  /** ?job */
  "GET /vma/updates": (lab, { job }) => lab.vma.updatesOf(String(job)),
  "GET /vma/violations": (lab) => lab.vma.violations,
  "POST /vma/clear": (lab) => lab.vma.clear(),
  /** ?job: its row in replication_jobs and those in vm_disks, read after one more round */
  "GET /poller": async (lab, { job }) => {
    await lab.poller.poll();
    return { job: lab.poller.job(String(job)), disks: lab.poller.disks(String(job)) };
  },
};

async function readBody(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of request as AsyncIterable<Buffer>) text += chunk;
  return text;
}

interface Reply {
  status: number;
  body: string;
}

async function passOn(lab: Lab, request: IncomingMessage, body: string): Promise<Reply> {
  const response = await fetch(`${lab.vcenter.controlUrl}${request.url}`, {
    method: request.method ?? "GET",
    ...(request.method === "POST" && { body }),
  });
  const answer = await response.text();
  // Machines and disks that came by this way get targets too.
  if (request.url?.startsWith("/vm/"))
    for (const vm of lab.vcenter.vms) await lab.targets.addVm(vm);
  if (request.url !== "/") return { status: response.status, body: answer };
  const theirs = JSON.parse(answer) as { routes: string[] };
  const all = { ...theirs, routes: [...Object.keys(routes), ...theirs.routes] };
  return { status: 200, body: JSON.stringify(all) };
}

async function answer(lab: Lab, request: IncomingMessage, controlUrl: string): Promise<Reply> {
  const url = new URL(request.url ?? "/", controlUrl);
  const body = await readBody(request);
  const route = routes[`${request.method} ${url.pathname}`];
  if (!route) return passOn(lab, request, body);
  const fields: Fields = {
    ...Object.fromEntries(url.searchParams),
    ...(body.trim() === "" ? {} : (JSON.parse(body) as Fields)),
  };
  return { status: 200, body: JSON.stringify((await route(lab, fields, controlUrl)) ?? {}) };
}

export async function startLabControl(lab: Lab, port = 0): Promise<LabControl> {
  let url = "";
  const server = createServer(async (request, response) => {
    const reply = await answer(lab, request, url).catch((error: unknown) => ({
      status: 400,
      body: JSON.stringify({ error: error instanceof Error ? error.message : String(error) }),
    }));
    response.writeHead(reply.status, { "content-type": "application/json" });
    response.end(`${reply.body.trim()}\n`);
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
