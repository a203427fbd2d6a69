/** A bare vim25 client for tests of the simulator: envelopes by hand, one connection per call. */

import { request } from "node:https";
import { parseXml, type XmlElement } from "../lab/vcenter/xml.ts";

export interface RawAnswer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: string;
}

export class RawVimClient {
  readonly #endpoint: string;
  cookie: string | undefined;
  action = "urn:vim25/7.0";

  readonly #isHost: boolean;

  constructor(endpoint: string, apiType = "VirtualCenter") {
    this.#endpoint = endpoint;
    this.#isHost = apiType === "HostAgent";
  }

  /** Sends `<method><_this type=…>…</_this>inner</method>`. */
  async send(method: string, self: string, inner = ""): Promise<RawAnswer> {
    const [type, value] = self.split(":");
    const envelope =
      '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"' +
      ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>' +
      `<${method} xmlns="urn:vim25"><_this type="${type}">${value}</_this>${inner}</${method}>` +
      "</soapenv:Body></soapenv:Envelope>";
    const [host, port] = this.#endpoint.split(":");
    return new Promise((resolve, reject) => {
      const outgoing = request(
        {
          ...{ host, port, path: "/sdk", method: "POST", agent: false },
          rejectUnauthorized: false,
          headers: {
            "Content-Type": "text/xml; charset=utf-8",
            SOAPAction: this.action,
            ...(this.cookie !== undefined && { Cookie: this.cookie }),
          },
        },
        (response) => {
          let body = "";
          response.setEncoding("utf8").on("data", (chunk: string) => {
            body += chunk;
          });
          response.on("error", reject);
          response.on("end", () => {
            const setCookie = response.headers["set-cookie"]?.[0];
            if (setCookie !== undefined) this.cookie = setCookie.split(";")[0];
            resolve({ status: response.statusCode ?? 0, headers: response.headers, body });
          });
        },
      );
      outgoing.on("error", reject);
      outgoing.end(envelope);
    });
  }

  /** The `returnval` elements of the answer; throws with the fault's type and text. */
  async call(method: string, self: string, inner = ""): Promise<readonly XmlElement[]> {
    const answer = await this.send(method, self, inner);
    const content = parseXml(answer.body).children.find((child) => child.name === "Body")!
      .children[0]!;
    if (content.name !== "Fault") return content.children;
    const type = at(content, "detail").children[0]!.attributes.get(":type");
    throw new Error(`${type}: ${at(content, "faultstring").text}`);
  }

  async login(username: string, password: string): Promise<void> {
    const inner = `<userName>${username}</userName><password>${password}</password>`;
    const manager = this.#isHost ? "ha-sessionmgr" : "SessionManager";
    await this.call("Login", `SessionManager:${manager}`, inner);
  }

  /** Value element of one property, or undefined when it is unset. */
  async property(self: string, path: string): Promise<XmlElement | undefined> {
    const [type, value] = self.split(":");
    const objects = await this.call(
      "RetrieveProperties",
      "PropertyCollector:propertyCollector",
      `<specSet><propSet><type>${type}</type><pathSet>${path}</pathSet></propSet>` +
        `<objectSet><obj type="${type}">${value}</obj></objectSet></specSet>`,
    );
    const set = objects[0]?.children.find((child) => child.name === "propSet");
    return set && at(set, "val");
  }

  /** Waits for a task by asking again; the moref of its result, or throws its error. */
  async finishTask(started: readonly XmlElement[]): Promise<string | undefined> {
    const task = `Task:${started[0]!.text}`;
    for (;;) {
      const info = await this.property(task, "info");
      const state = at(info!, "state").text;
      if (state === "success") return optional(info!, "result")?.text;
      if (state === "error") {
        const error = at(info!, "error");
        const type = at(error, "fault").attributes.get(":type");
        throw new Error(`${type}: ${at(error, "localizedMessage").text}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  async setChangeTracking(vm: string, enabled: boolean): Promise<void> {
    const spec = `<spec><changeTrackingEnabled>${enabled}</changeTrackingEnabled></spec>`;
    await this.finishTask(await this.call("ReconfigVM_Task", `VirtualMachine:${vm}`, spec));
  }

  async createSnapshot(vm: string, quiesce = false): Promise<string> {
    const inner = `<name>test</name><memory>false</memory><quiesce>${quiesce}</quiesce>`;
    const started = await this.call("CreateSnapshot_Task", `VirtualMachine:${vm}`, inner);
    return (await this.finishTask(started))!;
  }

  async removeSnapshot(snapshot: string): Promise<void> {
    const inner = "<removeChildren>false</removeChildren><consolidate>true</consolidate>";
    const self = `VirtualMachineSnapshot:${snapshot}`;
    await this.finishTask(await this.call("RemoveSnapshot_Task", self, inner));
  }

  /** Change ID per device key, of a machine or of a snapshot. */
  async changeIds(self: string): Promise<Map<number, string | undefined>> {
    const devices = (await this.property(self, "config.hardware.device"))!.children;
    const disks = devices.filter((device) => device.attributes.get(":type") === "VirtualDisk");
    return new Map(
      disks.map((disk) => [
        Number(at(disk, "key").text),
        optional(at(disk, "backing"), "changeId")?.text,
      ]),
    );
  }

  async changedPage(vm: string, snapshot: string, key: number, offset: number, changeId: string) {
    const [info] = await this.call(
      "QueryChangedDiskAreas",
      `VirtualMachine:${vm}`,
      `<snapshot type="VirtualMachineSnapshot">${snapshot}</snapshot><deviceKey>${key}</deviceKey>` +
        `<startOffset>${offset}</startOffset><changeId>${changeId}</changeId>`,
    );
    return {
      startOffset: Number(at(info!, "startOffset").text),
      length: Number(at(info!, "length").text),
      areas: info!.children
        .filter((child) => child.name === "changedArea")
        .map((area) => ({
          offset: Number(at(area, "start").text),
          length: Number(at(area, "length").text),
        })),
    };
  }

  /** All areas up to the capacity, page by page. */
  async changedAreas(
    vm: string,
    snapshot: string,
    key: number,
    changeId: string,
    capacityBytes: number,
  ) {
    const areas: { offset: number; length: number }[] = [];
    let pages = 0;
    for (let offset = 0; offset < capacityBytes; pages += 1) {
      const page = await this.changedPage(vm, snapshot, key, offset, changeId);
      areas.push(...page.areas);
      offset = page.startOffset + page.length;
    }
    return { areas, pages };
  }
}

function at(element: XmlElement, name: string): XmlElement {
  const child = optional(element, name);
  if (!child) throw new Error(`<${element.name}> has no <${name}>`);
  return child;
}

function optional(element: XmlElement, name: string): XmlElement | undefined {
  return element.children.find((child) => child.name === name);
}
