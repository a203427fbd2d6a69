/** What can come instead of an answer, and which entry of the catalogue that is. */

import { type ErrorCode, MigratekitError } from "../../errors.ts";
import { oneLine } from "../../text.ts";

/** CloudStack said no: by an HTTP status, or as the end of a job. */
export class ApiFault extends Error {
  override readonly name = "ApiFault";
  readonly command: string;
  /** ApiErrorCode of CloudStack's source: 401, 431, 530 … */
  readonly errorCode: number;
  /** The job had been begun; what it did until it failed is to be looked for. */
  readonly inJob: boolean;

  constructor(command: string, errorCode: number, text: string, inJob: boolean) {
    super(oneLine(text) || `error ${errorCode} without a text`);
    this.command = command;
    this.errorCode = errorCode;
    this.inJob = inJob;
  }
}

/** Nobody knows whether a command was carried out: the answer, or its job, was lost. */
export class LostAnswer extends Error {
  override readonly name = "LostAnswer";
  readonly command: string;
  /**
   * From when on (of Unix time here) what is not found will not come any more; Infinity while CloudStack says that
   * it is still at it.
   */
  readonly overMs: number;

  constructor(command: string, why: string, overMs: number) {
    super(oneLine(why));
    this.command = command;
    this.overMs = overMs;
  }
}

const codes: Readonly<Record<number, ErrorCode>> = {
  401: "cloudstack-login",
  429: "cloudstack-throttled",
  430: "cloudstack-parameter",
  431: "cloudstack-parameter",
  432: "cloudstack-permission",
  503: "cloudstack-unreachable",
  511: "cloudstack-login",
  531: "cloudstack-permission",
  532: "cloudstack-limit",
  533: "cloudstack-capacity",
  534: "cloudstack-capacity",
  535: "cloudstack-limit",
  536: "cloudstack-conflict",
  537: "cloudstack-conflict",
};

/** As everybody else is to see it; `what` was to be done, in words that fit after "could not". */
export function toMigratekitError(error: unknown, what: string): unknown {
  if (error instanceof ApiFault) {
    const { command, errorCode, inJob } = error;
    // In a job 530 is what permission, capacity and everything else come as.
    const code = codes[errorCode] ?? (inJob ? "cloudstack-job-failed" : "cloudstack-fault");
    const message = `could not ${what}: ${error.message} (${command}, error ${errorCode})`;
    return new MigratekitError(code, message, { cause: error, context: { command, errorCode } });
  }
  if (error instanceof LostAnswer) {
    const { command } = error;
    const message = `could not ${what}: ${error.message} (${command})`;
    return new MigratekitError("cloudstack-answer-lost", message, {
      cause: error,
      context: { command },
    });
  }
  return error;
}
