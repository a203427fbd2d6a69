/** A simulator in a directory of its own, for one test, and its control API. */

import assert from "node:assert/strict";
import { startVcenter, type VcenterLab, type VcenterOptions } from "../lab/vcenter/vcenter.ts";
import { tempDir } from "../temp-dir.ts";
import { RawVimClient } from "./raw-vim-client.ts";

export interface TestLab extends AsyncDisposable {
  readonly vcenter: VcenterLab;
  /** Logged in as the administrator. */
  readonly client: RawVimClient;
}

export async function startTestLab(options: Partial<VcenterOptions> = {}): Promise<TestLab> {
  await using stack = new AsyncDisposableStack();
  const { path: labDir } = stack.use(await tempDir());
  const vcenter = stack.use(await startVcenter({ taskMs: 4, snapshotMs: 4, ...options, labDir }));
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
