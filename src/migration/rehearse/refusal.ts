import { MigratekitError } from "../../errors.ts";
import type { RehearsalSummary } from "./document.ts";

/** @throws MigratekitError `guest-will-not-boot` */
export function refuse({ verdict, reason }: RehearsalSummary): void {
  if (verdict === "boots" || verdict === "converts") return;
  const remedy =
    "See to what the report says in the source, sync, and rehearse again; the targets were only read.";
  throw new MigratekitError(
    "guest-will-not-boot",
    verdict === "unclear"
      ? `it cannot be told whether the converted guest boots: ${reason}`
      : `the converted guest would not boot: ${reason}`,
    { remedy },
  );
}
