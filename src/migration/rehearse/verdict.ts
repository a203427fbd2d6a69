/** What a rehearsal comes to. Pure. */
import type { Conversion, SignsOfLife } from "../../guest/guest.ts";
import type { RehearsalVerdict } from "./document.ts";

export interface Outcome {
  readonly verdict: RehearsalVerdict;
  readonly reason: string;
}

/**
 * A guest that was started judges itself, but for what a check knows to be wrong: `convert` would not apply
 * that, however well it starts here.
 */
export function outcomeOf(conversion: Conversion, signs: SignsOfLife | undefined): Outcome {
  const { verdict, findings } = conversion;
  const texts = findings.filter(({ level }) => level === verdict).map(({ text }) => text);
  if (verdict === "will-not-boot") return { verdict, reason: texts.join("; ") };
  if (signs !== undefined) return { verdict: signs.verdict, reason: signs.reason };
  if (verdict === "look") return { verdict: "unclear", reason: texts.join("; ") };
  return { verdict: "converts", reason: "every check of the converted guest was passed" };
}
