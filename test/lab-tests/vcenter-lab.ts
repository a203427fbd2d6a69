/** A simulator in a directory of its own, for one test. */

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
  const client = new RawVimClient(vcenter.endpoint);
  await client.login(vcenter.username, vcenter.password);
  return {
    vcenter,
    client,
    async [Symbol.asyncDispose]() {
      await vcenter.stop();
      await rm(labDir, { recursive: true, force: true });
    },
  };
}
