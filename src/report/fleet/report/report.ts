/** `fleet report`: the whole project as one page, and the data it was made from. */
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import type { FleetStatus } from "../../../fleet/status.ts";
import { jsonLine } from "../../json/json.ts";
import { whoRuns } from "../../page/who.ts";
import { fleetHead, fleetVms } from "../status-json.ts";
import { fleetPage } from "./page.ts";

/** Runs of each VM that a report is made of. */
export const reportRunsMax = 50;

export interface FleetReport {
  /** One document and a line break: what `fleet report --json` prints. */
  readonly json: string;
  /** Of these bytes. */
  readonly sha256: string;
  readonly html: string;
}

/** `status` with all VMs of the plan, and `reportRunsMax` runs of each. */
export function makeFleetReport(status: FleetStatus, title: string): FleetReport {
  const json = jsonLine({ title, ...fleetHead(status), vms: fleetVms(status) });
  const sha256 = createHash("sha256").update(json).digest("hex");
  const html = fleetPage(status, {
    title,
    who: whoRuns(),
    sha256,
    data: gzipSync(json, { level: 9 }),
    runsMax: reportRunsMax,
  });
  return { json, sha256, html };
}
