import type { SignsOfLife } from "../../guest/guest.ts";
import type { conversionDocument } from "../known/document.ts";
import type { Forecast } from "./forecast.ts";

/**
 * `converts`: the checks found nothing, and it was not started. `unclear`: it was started, and the time was
 * over before it was seen to be up; or only a person can judge what the checks found.
 */
export type RehearsalVerdict = "boots" | "converts" | "unclear" | "will-not-boot";

export interface RehearsalSummary {
  readonly vm: { readonly path: string; readonly instance_uuid: string };
  readonly run_id: string;
  readonly verdict: RehearsalVerdict;
  /** Why, for people. */
  readonly reason: string;
  readonly conversion: ReturnType<typeof conversionDocument>;
  /** Absent without `--boot`. */
  readonly boot?: ReturnType<typeof bootDocument>;
  /** With `--cloudstack`: the machine that it was started as. */
  readonly instance?: RehearsedInstance;
  readonly forecast: Forecast;
  readonly duration_ms: number;
}

/** Names are an interface. */
export interface RehearsedInstance {
  readonly name: string;
  readonly id: string;
  readonly state: string;
  /** What showed that it lives; null: nothing did. */
  readonly alive: string | null;
  readonly nics: readonly { readonly mac: string; readonly address?: string }[];
  /** ISO 8601: when it is to be removed; absent: with `--end`. */
  readonly until?: string;
}

/** A boot as `--json` has it. Names and units are an interface. */
export function bootDocument(signs: SignsOfLife) {
  const { verdict, reason, accelerator, kernel, rootMounted, console, addresses } = signs;
  return {
    ...{ verdict, reason, accelerator, kernel, root_mounted: rootMounted },
    console: console ?? null,
    addresses,
    written_bytes: signs.writtenBytes,
    restarts: signs.restarts,
    console_tail: signs.consoleTail,
    screenshot: signs.screenshot ?? null,
    ...(signs.bootMs === undefined ? {} : { boot_ms: signs.bootMs }),
    duration_ms: signs.durationMs,
  };
}
