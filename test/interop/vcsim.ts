/** Starts vcsim for a test; it ends when its standard input is closed. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";

export interface Vcsim extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  readonly username: string;
  readonly password: string;
  readonly sha1: string;
  readonly sha256: string;
}

const binary = new URL("../../.lab/vcsim", import.meta.url).pathname;

/** `more`: flags of test/interop/vcsim, such as `-machines 40`. */
export async function startVcsim(
  kind: "vcenter" | "esx" = "vcenter",
  more: readonly string[] = [],
): Promise<Vcsim> {
  if (!existsSync(binary))
    throw new Error(
      "vcsim is not built; node .ci/setup.mjs --test builds it (or see test/interop)",
    );
  const username = "operator@vsphere.local";
  const password = "right pass/word<&>\"'";
  const account = ["-username", username, "-password", password];
  const flags = [...account, ...(kind === "esx" ? ["-esx"] : []), ...more];
  const child = spawn(binary, flags, { stdio: ["pipe", "pipe", "inherit"] });
  const line = await firstLine(child);
  const ready = JSON.parse(line) as { endpoint: string; sha1: string; sha256: string };
  const colon = ready.endpoint.lastIndexOf(":");
  return {
    host: ready.endpoint.slice(0, colon),
    port: Number(ready.endpoint.slice(colon + 1)),
    username,
    password,
    sha1: ready.sha1,
    sha256: ready.sha256,
    async [Symbol.asyncDispose]() {
      child.stdin?.end();
      if (child.exitCode === null) await once(child, "exit");
    },
  };
}

async function firstLine(child: ChildProcess): Promise<string> {
  const lines = createInterface({ input: child.stdout ?? process.stdin });
  const ended = once(child, "exit").then(() => Promise.reject(new Error("vcsim ended at once")));
  const [line] = await Promise.race([once(lines, "line"), ended]);
  return String(line);
}
