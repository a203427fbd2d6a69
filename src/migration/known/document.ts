import type { Conversion } from "../../guest/guest.ts";

/** A conversion as `--json` has it, and as the state keeps it. Names and units are an interface. */
export function conversionDocument(conversion: Conversion) {
  const { verdict, hardware, guest, repairs, findings, durationMs } = conversion;
  const { controller, firmware, secureBoot, machine, nics } = hardware;
  return {
    verdict,
    hardware: { controller, firmware, secure_boot: secureBoot, machine, nics },
    guest,
    repairs,
    findings,
    duration_ms: durationMs,
  };
}
