/** The smallest client of CloudStack's API, for tests of the laboratory alone: it signs with the laboratory's own code. */

import { setTimeout as sleep } from "node:timers/promises";
import { signatureOf } from "../lab/cloudstack/api/signature.ts";
import type { CloudStackLab } from "../lab/cloudstack/cloudstack.ts";

export type Fields = Record<string, unknown>;

export interface RawAnswer {
  readonly status: number;
  /** What stands below the response's name. */
  readonly body: Fields;
}

export class RawClient {
  readonly #lab: CloudStackLab;
  readonly #account: string | undefined;

  constructor(lab: CloudStackLab, account?: string) {
    this.#lab = lab;
    this.#account = account;
  }

  signed(command: string, parameters: Record<string, string> = {}): URLSearchParams {
    const { apiKey, secretKey } = this.#lab.account(this.#account);
    const all = new Map(Object.entries({ command, apiKey, response: "json", ...parameters }));
    all.set("signature", signatureOf(all, secretKey));
    return new URLSearchParams([...all]);
  }

  async send(command: string, parameters: Record<string, string> = {}): Promise<RawAnswer> {
    const body = this.signed(command, parameters);
    const response = await fetch(this.#lab.url, { method: "POST", body });
    const json = (await response.json()) as Record<string, Fields>;
    return { status: response.status, body: Object.values(json)[0]! };
  }

  /** @throws the error's code and text */
  async run(command: string, parameters: Record<string, string> = {}): Promise<Fields> {
    const { status, body } = await this.send(command, parameters);
    if (status !== 200) throw new Error(`${status}: ${body.errortext}`);
    return body;
  }

  /** The items of a list. */
  async list(command: string, parameters: Record<string, string> = {}): Promise<Fields[]> {
    const { count: _, ...rest } = await this.run(command, parameters);
    return (Object.values(rest)[0] ?? []) as Fields[];
  }

  /** The result of a job, under its name. @throws its code and text where it failed */
  async job(command: string, parameters: Record<string, string> = {}): Promise<Fields> {
    const { jobid } = await this.run(command, parameters);
    const ended = await this.ended(String(jobid));
    const result = ended.jobresult as Fields | undefined;
    if (ended.jobstatus === 1) return Object.values(result!)[0] as Fields;
    throw new Error(result ? `job ${result.errorcode}: ${result.errortext}` : "job without result");
  }

  async ended(jobid: string): Promise<Fields> {
    for (;;) {
      const job = await this.run("queryAsyncJobResult", { jobid });
      if (job.jobstatus !== 0) return job;
      await sleep(5);
    }
  }

  /** IDs by which machines and volumes are made. */
  get ids() {
    const { catalogue } = this.#lab;
    const named = (items: readonly { id: string; name: string }[], name: string) =>
      items.find((item) => item.name === name)!.id;
    return {
      zone: catalogue.zones[0]!.id,
      offering: (name: string) => named(catalogue.serviceOfferings, name),
      diskOffering: (name: string) => named(catalogue.diskOfferings, name),
      template: (name: string) => named(catalogue.templates, name),
      network: (name: string) => named(catalogue.networks, name),
    };
  }

  /** A volume of that many GiB; its ID. */
  async volume(name: string, sizeGiB = 1, offering = "Custom Disk"): Promise<string> {
    const made = await this.job("createVolume", {
      ...{ name, zoneid: this.ids.zone, size: String(sizeGiB) },
      diskofferingid: this.ids.diskOffering(offering),
    });
    return String(made.id);
  }

  /** A machine that is off; its ID. */
  async machine(name: string, more: Record<string, string> = {}): Promise<string> {
    const made = await this.job("deployVirtualMachine", this.machineFields(name, more));
    return String(made.id);
  }

  machineFields(name: string, more: Record<string, string> = {}): Record<string, string> {
    const { zone, offering, template, network } = this.ids;
    return {
      ...{ name, startvm: "false", zoneid: zone },
      ...{ serviceofferingid: offering("Small Instance"), templateid: template("seed") },
      "iptonetworklist[0].networkid": network("lan"),
      ...more,
    };
  }

  /** Its own root is thrown away, and the volume takes the place. */
  async swapRoot(machine: string, volume: string): Promise<void> {
    const [root] = await this.list("listVolumes", { virtualmachineid: machine, type: "ROOT" });
    await this.job("detachVolume", { id: String(root!.id) });
    await this.run("deleteVolume", { id: String(root!.id) });
    await this.job("attachVolume", { id: volume, virtualmachineid: machine, deviceid: "0" });
  }
}
