/** From the text of an answer to the one object in it, or to what it says went wrong. */

import { MigratekitError } from "../../errors.ts";
import { oneLine } from "../../text.ts";
import { ApiFault } from "./faults.ts";

export type Fields = Readonly<Record<string, unknown>>;

export function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * `{"…response": {…}}` of an answer with this status.
 * @throws ApiFault where CloudStack says so, MigratekitError `cloudstack-protocol` where it is not CloudStack
 */
export function parseAnswer(command: string, status: number, body: string): Fields {
  const content = contentOf(body);
  const errorCode = content?.errorcode;
  if (content !== undefined && typeof errorCode === "number")
    throw new ApiFault(command, errorCode, String(content.errortext ?? ""), false);
  if (content !== undefined && status >= 200 && status < 300) return content;
  const said = body === "" ? "nothing" : `"${oneLine(body, 120)}"`;
  throw new MigratekitError(
    "cloudstack-protocol",
    `${command} was answered with HTTP status ${status} and ${said}`,
    { context: { command, status } },
  );
}

function contentOf(body: string): Fields | undefined {
  let answer: unknown;
  try {
    answer = JSON.parse(body);
  } catch {
    return undefined;
  }
  if (!isFields(answer)) return undefined;
  const entry = Object.entries(answer).find(([name]) => name.toLowerCase().endsWith("response"));
  return isFields(entry?.[1]) ? entry[1] : undefined;
}
