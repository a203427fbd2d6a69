/** A simulator in a directory of its own, for one test, and its control API. */

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { startVcenter, type VcenterLab, type VcenterOptions } from "../lab/vcenter/vcenter.ts";
import { RawVimClient } from "./raw-vim-client.ts";

export interface TestLab extends AsyncDisposable {
  readonly vcenter: VcenterLab;
  /** Logged in as the administrator. */
  readonly client: RawVimClient;
}

export async function startTestLab(options: Partial<VcenterOptions> = {}): Promise<TestLab> {
  const labDir = await mkdtemp(path.join(tmpdir(), "vcenter-test-"));
  const vcenter = await startVcenter({ taskMs: 4, snapshotMs: 4, ...options, labDir });
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rm(labDir, { recursive: true, force: true }));
  stack.use(vcenter);
  const client = new RawVimClient(vcenter.endpoint, options.apiType);
  await client.login(vcenter.username, vcenter.password);
  const owned = stack.move();
  return { vcenter, client, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

export async function post<T>(vcenter: VcenterLab, path: string, body: object): Promise<T> {
  const response = await fetch(`${vcenter.controlUrl}${path}`, {
    method: "POST",
    body: JSON.stringify(body),
  });
  const answer = (await response.json()) as T;
  assert.equal(response.status, 200, JSON.stringify(answer));
  return answer;
}

export async function get<T>(vcenter: VcenterLab, path: string): Promise<T> {
  const response = await fetch(`${vcenter.controlUrl}${path}`);
  assert.equal(response.status, 200);
  return (await response.json()) as T;
}
