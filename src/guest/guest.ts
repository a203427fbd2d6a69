/**
 * What makes a volume boot elsewhere: overlays over the targets, virt-v2v on them, our own repairs and
 * checks, and a verdict. Nothing in this room writes to a target.
 */
export { type BootOptions, bootGuest, type SignsOfLife } from "./boot/boot.ts";
export type { Conversion, ConvertedHardware, Finding, Repair } from "./conversion.ts";
export { type ConvertOptions, convertGuest, isWindows } from "./convert.ts";
export type { LuksKey } from "./inspect/unlock.ts";
export type { GuestDisk, GuestHardware, GuestNic, Overlay } from "./machine.ts";
export type { OverlayOptions } from "./overlays/options.ts";
export { makeOverlays } from "./overlays/overlays.ts";
export { missingGuestTools, requireGuestTools, type ToolWishes } from "./tools/presence.ts";
export { refuseUnsupported } from "./unsupported.ts";
export { untilListening } from "./work/listening.ts";
export { makeWorkFolder, type WorkFolder } from "./work/work.ts";
