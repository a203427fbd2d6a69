import type { Finding } from "../conversion.ts";

/** Of our own checks. */
export function check(level: Finding["level"], text: string): Finding {
  return { level, source: "check", text };
}
