/** What a conversion may not exceed: its time, the size of its overlays, the room for temporary files. */
import { stat, statfs } from "node:fs/promises";
import { MigratekitError } from "../../errors.ts";
import { formatBytes, formatDuration } from "../../text.ts";
import type { Overlay } from "../machine.ts";
import type { WorkFolder } from "./work.ts";

export interface Limits {
  readonly timeoutMs: number;
  /** Of all overlays together, as they take room. */
  readonly overlayBytesMax: number;
}

export interface Watch extends Disposable {
  /** Aborts with the error when a limit is passed, or with the outer signal's reason. */
  readonly signal: AbortSignal;
  /** Looks once more: what grew since the last look is seen too. @throws MigratekitError */
  check(): Promise<void>;
}

const pollMs = 250;
/** A program that gets no more room may wait for it for ever (QEMU does), so it is ended before. */
const roomBytesLeast = 1024 * 1024;
const blockBytes = 512;

/** Watches until it is disposed of. */
export function watchLimits(
  work: WorkFolder,
  overlays: readonly Overlay[],
  limits: Limits,
  outer?: AbortSignal,
): Watch {
  const exceeded = new AbortController();
  const deadline = setTimeout(() => exceeded.abort(timedOut(limits)), limits.timeoutMs);
  const check = async () => {
    const error = (await tooLarge(overlays, limits)) ?? (await noRoom(work));
    if (error !== undefined) exceeded.abort(error);
  };
  const timer = setInterval(() => void check().catch(() => {}), pollMs);
  return {
    signal: AbortSignal.any([exceeded.signal, ...(outer ? [outer] : [])]),
    check: async () => {
      await check();
      exceeded.signal.throwIfAborted();
    },
    [Symbol.dispose]: () => {
      clearTimeout(deadline);
      clearInterval(timer);
    },
  };
}

function timedOut({ timeoutMs }: Limits): MigratekitError {
  const time = formatDuration(timeoutMs / 1_000);
  return new MigratekitError("conversion-timeout", `the conversion did not end within ${time}`);
}

async function tooLarge(
  overlays: readonly Overlay[],
  { overlayBytesMax }: Limits,
): Promise<MigratekitError | undefined> {
  let bytes = 0;
  for (const { path } of overlays) bytes += (await stat(path)).blocks * blockBytes;
  if (bytes <= overlayBytesMax) return undefined;
  return new MigratekitError(
    "overlay-too-large",
    `the conversion has changed ${formatBytes(bytes)}, and ${formatBytes(overlayBytesMax)} are allowed`,
  );
}

async function noRoom({ path }: WorkFolder): Promise<MigratekitError | undefined> {
  const { bavail, bsize } = await statfs(path);
  if (bavail * bsize >= roomBytesLeast) return undefined;
  return new MigratekitError("work-folder-unusable", `no room is left in ${path}`);
}
