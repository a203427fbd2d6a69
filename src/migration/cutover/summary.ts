import type { PowerState } from "../../vmware/vm-details.ts";
import type { ConversionSummary } from "../convert/convert.ts";
import type { CycleSummary } from "../cycle/summary.ts";
import type { DeploymentDocument } from "../deploy/deploy.ts";

/** Of a cutover that was completed; part of `--json`. */
export interface CutoverSummary {
  readonly vm: CycleSummary["vm"];
  readonly power_state: PowerState;
  /** The guest did not shut down in time and the VM was powered off hard. */
  readonly forced: boolean;
  /** From the request to shut down to the end: of the last sync, its verification, the conversion, the deployment. */
  readonly downtime_ms: number;
  /** Syncs of the running VM, in their order. */
  readonly passes: readonly CycleSummary[];
  readonly final_sync: CycleSummary;
  /** With `--convert`. */
  readonly conversion?: ConversionSummary["conversion"];
  readonly applied?: ConversionSummary["applied"];
  /** With `--deploy`. */
  readonly instance?: DeploymentDocument;
}
