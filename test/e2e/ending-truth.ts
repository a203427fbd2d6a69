// What the servers themselves say of a run: the targets' nbdkit writes down every request and its
// answer, the source's library what was read through each of its handles.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { NbdServer } from "../lab/nbd-server.ts";
import type { Lab } from "../lab/start-lab.ts";
import { createVolume, startNbdkitTarget } from "../lab/targets.ts";

export interface Truth {
  readonly written: number;
  readonly zeroed: number;
}

/** A volume behind nbdkit, which fails as its triggers say and logs what it was asked. */
export class LoggedTarget implements AsyncDisposable {
  readonly server: NbdServer;
  readonly file: string;
  readonly #log: string;

  private constructor(server: NbdServer, file: string, log: string) {
    this.server = server;
    this.file = file;
    this.#log = log;
  }

  /** `more`: further filters, within the log's, and their settings. */
  static async start(
    lab: Lab,
    name: string,
    sizeBytes: number,
    more: { filters?: string[]; settings?: string[] } = {},
  ): Promise<LoggedTarget> {
    const file = join(lab.dir, `${name}.raw`);
    const log = join(lab.dir, `${name}.log`);
    await createVolume(file, sizeBytes);
    writeFileSync(log, "");
    const server = await startNbdkitTarget({
      file,
      filters: ["log", ...(more.filters ?? [])],
      settings: [`logfile=${log}`, "logappend=true", ...(more.settings ?? [])],
    });
    return new LoggedTarget(server, file, log);
  }

  /** What it has carried out since this place in its log. */
  since(place: number): Truth {
    const asked = new Map<string, { op: string; bytes: number }>();
    const truth = { written: 0, zeroed: 0 };
    const lines = readFileSync(this.#log).subarray(place).toString().split("\n");
    for (const line of lines) {
      const [, connection, dots, op = "", id, rest = ""] =
        /connection=(\d+) (\.\.\.)?(\w+) id=(\d+) (.*)$/.exec(line) ?? [];
      const key = `${connection} ${id} ${op}`;
      if (op !== "Write" && op !== "Zero") continue;
      if (dots === undefined) {
        const bytes = Number(/count=(0x[0-9a-f]+)/.exec(rest)?.[1]);
        asked.set(key, { op, bytes });
      } else if (rest.startsWith("return=0")) {
        const { bytes } = asked.get(key)!;
        truth[op === "Write" ? "written" : "zeroed"] += bytes;
      }
    }
    return truth;
  }

  get place(): number {
    return readFileSync(this.#log).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.stop();
  }
}

/** All that was read of the source through handles that were closed properly. */
export async function sourceBytes(lab: Lab): Promise<number> {
  return (await lab.vddk.readUse()).reduce((sum, { bytes }) => sum + bytes, 0);
}
