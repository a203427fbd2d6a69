/** The judgement over what was seen of a boot. */
import type { ConsoleSigns } from "./console.ts";
import type { Heard } from "./ethernet.ts";

/** What has been seen until now. */
export interface Observations {
  readonly console: ConsoleSigns;
  /** Distinct places of all disks that the guest has written to, in bytes of whole clusters. */
  readonly writtenBytes: number;
  /** From its own cards; DHCP only since the root was written, as firmware asks for addresses too. */
  readonly heard: readonly Heard[];
  readonly macs: readonly string[];
  /** Times that the guest started anew by itself. */
  readonly restarts: number;
  /** It has switched itself off. */
  readonly off: boolean;
}

/** `unclear`: the time was over before enough was seen either way. */
export type BootVerdict = "boots" | "will-not-boot" | "unclear";

export interface Judgement {
  readonly verdict: BootVerdict;
  /** Why, for people. */
  readonly reason: string;
  /** Nothing more is to be waited for. */
  readonly complete: boolean;
}

/**
 * Boot loaders keep a block of notes, and a superblock is touched when a disk is looked at: three or four
 * clusters of 64 KiB. A root that is mounted writable has its journal, its logs and its inodes written.
 */
export const rootWrittenBytes = 16 * 64 * 1024;

/** After a few, it will not stop. */
const restartsMax = 4;

export function rootIsWritten({ writtenBytes }: Pick<Observations, "writtenBytes">): boolean {
  return writtenBytes >= rootWrittenBytes;
}

/** Pure; `complete` ends the wait at once, else a boot has what is left of its time. */
export function judge(seen: Observations): Judgement {
  const { console, heard, macs } = seen;
  const written = rootIsWritten(seen);
  const answered = macs.filter((mac) => heard.some((one) => one.mac === mac));
  const alive = console.up !== undefined || (written && answered.length > 0);
  if (console.deadEnd !== undefined && console.up === undefined) return no(console.deadEnd);
  if (seen.restarts >= restartsMax && !alive) return no("it starts again and again");
  if (seen.off && !alive) return no("it switched itself off");
  if (alive) {
    const complete = written && console.up !== undefined && answered.length === macs.length;
    return { verdict: "boots", reason: reasons(seen, answered), complete };
  }
  return { verdict: "unclear", reason: lacking(seen, written), complete: false };
}

function no(reason: string): Judgement {
  return { verdict: "will-not-boot", reason, complete: true };
}

function reasons({ console, heard, ...rest }: Observations, answered: readonly string[]): string {
  const found = [
    ...(console.up === "login" ? ["the console asks for a login"] : []),
    ...(console.up === "service" ? ["the console says that the system is up"] : []),
    ...(rootIsWritten(rest) ? ["its root is mounted writable"] : []),
    ...answered.map((mac) => {
      const arp = heard.find((one) => one.kind === "arp" && one.mac === mac);
      return arp?.kind === "arp"
        ? `${mac} has the address ${arp.address}`
        : `${mac} asks for an address`;
    }),
  ];
  return found.join(", ");
}

function lacking({ console }: Observations, written: boolean): string {
  if (written)
    return "its root was mounted writable, but neither console nor network said that it is up";
  if (console.kernel) return "its kernel started, but no root file system was written to";
  return "no sign of life was seen";
}
