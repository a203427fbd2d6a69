/** What a cutover's report says, the same for every kind of file. */
import type { CutoverSummary } from "../../migration/cutover/cutover.ts";
import type { CycleSummary, DiskSummary } from "../../migration/cycle/summary.ts";
import { counted, formatBytes, formatDuration } from "../../text.ts";

export interface CutoverFacts {
  readonly vmPath: string;
  readonly endpoint: string;
  /** At vSphere. */
  readonly account: string;
  readonly jobId: string | undefined;
  /** As given with `--config`. */
  readonly configName: string | undefined;
  readonly verified: boolean;
  readonly who: { readonly user: string; readonly host: string; readonly version: string };
  readonly startedMs: number;
  readonly endedMs: number;
  /** Of the VM, where the cutover ended early. */
  readonly power: string | undefined;
  readonly summary?: CutoverSummary;
  readonly failure?: {
    readonly status: string;
    readonly code: string;
    readonly message: string;
    readonly remedy: string;
  };
}

export interface Page {
  readonly title: string;
  readonly done: boolean;
  /** One sentence that says how it ended. */
  readonly verdict: string;
  readonly sections: readonly Section[];
}

export interface Section {
  readonly title: string;
  readonly facts?: readonly (readonly [string, string])[];
  readonly table?: { readonly headings: readonly string[]; readonly rows: readonly string[][] };
  /** To be done one after another. */
  readonly steps?: readonly Step[];
  readonly note?: string;
}

export interface Step {
  readonly text: string;
  /** As it can be pasted into a shell. */
  readonly command?: string;
}

export function pageOf(facts: CutoverFacts): Page {
  const name = facts.vmPath.slice(facts.vmPath.lastIndexOf("/") + 1);
  const { summary } = facts;
  return {
    title: `Cutover of ${name}`,
    done: summary !== undefined,
    verdict: verdictOf(facts, name),
    sections: [
      overview(facts),
      ...(summary === undefined
        ? []
        : [
            disksOf(summary),
            verificationOf(facts, summary),
            syncsOf(summary),
            ...conversionOf(summary),
            ...instanceOf(summary),
          ]),
      {
        title: "Who ran it",
        facts: [
          ["Account", `${facts.who.user} on ${facts.who.host}`],
          ["vSphere account", facts.account],
          ["Program", `migratekit ${facts.who.version}`],
          ...(facts.jobId === undefined ? [] : [["Progress job", facts.jobId] as const]),
        ],
      },
      wayBack(facts, name),
    ],
  };
}

function verdictOf({ summary, failure, power }: CutoverFacts, name: string): string {
  if (summary !== undefined) {
    const disks = counted(summary.final_sync.disks.length, "disk");
    if (summary.instance !== undefined) {
      return `${name} is powered off, and ${summary.instance.name} lives in CloudStack in its place (${disks}).`;
    }
    const state = summary.conversion === undefined ? "last state" : "converted guest";
    return `${name} is powered off, and its ${state} is on its targets (${disks}).`;
  }
  const ended = failure?.status === "interrupted" ? "was interrupted" : "failed";
  const error = failure === undefined ? "" : `: ${failure.message} [${failure.code}]`;
  return `The cutover ${ended}${error}.${power === undefined ? "" : ` ${power}.`}`;
}

function overview({ summary, failure, ...facts }: CutoverFacts): Section {
  const downFromMs = facts.endedMs - (summary?.downtime_ms ?? 0);
  return {
    title: summary === undefined ? "What was to be moved" : "What was moved, and when",
    facts: [
      ["Virtual machine", facts.vmPath],
      ["vSphere", facts.endpoint],
      ...(summary === undefined
        ? []
        : ([
            ["Instance UUID", summary.vm.instance_uuid],
            ["Run", summary.final_sync.run_id],
          ] as const)),
      ["Started", timeText(facts.startedMs)],
      ["Ended", timeText(facts.endedMs)],
      ...(summary === undefined
        ? []
        : ([
            ["Downtime", downtimeText(summary, downFromMs)],
            ["Shutdown", shutdownText(summary)],
          ] as const)),
      ...(failure === undefined ? [] : ([["What to do", failure.remedy]] as const)),
    ],
  };
}

function downtimeText(
  { downtime_ms, passes, conversion, instance }: CutoverSummary,
  fromMs: number,
): string {
  const spent = spanText(downtime_ms);
  const more = [
    ...(conversion === undefined ? [] : [", conversion"]),
    ...(instance === undefined ? [] : [", and until the new machine was seen alive"]),
  ].join("");
  if (passes.length === 0) return `${spent} for the last sync${more}; the machine was off before`;
  return `${spent}, from ${timeText(fromMs)}: shutdown, last sync and verification${more}`;
}

/** The machine that took its place. */
function instanceOf({ instance }: CutoverSummary): Section[] {
  if (instance === undefined) return [];
  const { name, id, alive, alive_at, nics, volumes } = instance;
  return [
    {
      title: "The machine in CloudStack",
      facts: [
        ["Name", name],
        ["ID", id],
        ["Seen alive", `${timeText(Date.parse(alive_at))}: ${alive}`],
        ...nics.map(
          ({ mac, address }) => ["Network card", `${mac}, ${address ?? "no address"}`] as const,
        ),
        ...volumes.map(({ disk_id, id: volume }) => [`Volume of ${disk_id}`, volume] as const),
      ],
    },
  ];
}

/** What the machine has to be given, and what was changed in it. */
function conversionOf({ conversion, applied }: CutoverSummary): Section[] {
  if (conversion === undefined) return [];
  const { guest, hardware, repairs, findings, duration_ms } = conversion;
  return [
    {
      title: "Conversion",
      facts: [
        ["Guest", guest.product ?? guest.distro ?? guest.os],
        ["Disks", hardware.controller],
        [
          "Firmware",
          `${hardware.firmware}${hardware.secure_boot ? ", secure boot" : ""}, machine ${hardware.machine}`,
        ],
        ["Network cards", hardware.nics.map(({ mac }) => mac).join(", ") || "none"],
        ["Took", spanText(duration_ms)],
        ["Old bytes", applied?.old_bytes ?? "-"],
        ...repairs.map(({ name, detail }) => [`Repaired: ${name}`, detail] as const),
        ...findings.map(({ level, text }) => [`Found: ${level}`, text] as const),
      ],
    },
  ];
}

function shutdownText({ forced, passes }: CutoverSummary): string {
  if (passes.length === 0) return "none: the machine was off already";
  return forced ? "powered off hard, as the guest did not shut down" : "by the guest itself";
}

function disksOf({ passes, final_sync }: CutoverSummary): Section {
  const syncs = [...passes, final_sync];
  const moved = (id: string, of: (disk: DiskSummary) => number) =>
    syncs
      .flatMap(({ disks }) => disks.filter((disk) => disk.disk_id === id))
      .reduce((sum, disk) => sum + of(disk), 0);
  return {
    title: "Disks",
    table: {
      headings: ["Disk", "Size", "Target", "Written", "Made zero", "Last sync"],
      rows: final_sync.disks.map((disk) => [
        disk.disk_id,
        formatBytes(disk.capacity_bytes),
        disk.target,
        formatBytes(moved(disk.disk_id, (one) => one.written_bytes)),
        formatBytes(moved(disk.disk_id, (one) => one.zeroed_bytes)),
        `${disk.sync_type}, ${formatBytes(disk.planned_bytes)} ${disk.sync_type === "full" ? "allocated" : "changed"}`,
      ]),
    },
    note: "Written and made zero: by this cutover; earlier runs are in 'migratekit history'.",
  };
}

function verificationOf({ verified }: CutoverFacts, { final_sync }: CutoverSummary): Section {
  if (!verified) {
    return {
      title: "Verification",
      note:
        "Every target was compared with the snapshot in a part of what was written. " +
        "A comparison of all bytes was not asked for (--verify).",
    };
  }
  const { disks } = final_sync;
  const digested = disks.some(({ verification }) => verification?.digest !== undefined);
  const digest =
    "A digest is that of the volume's first bytes, as many as the disk has: sha256sum gives the same.";
  return {
    title: "Verification",
    table: {
      headings: ["Disk", "Result", "Compared", ...(digested ? ["Digest of the target"] : [])],
      rows: disks.map(({ disk_id, capacity_bytes, verification }) => [
        disk_id,
        verification?.result ?? "equal",
        formatBytes(verification?.compared_bytes ?? capacity_bytes),
        ...(digested ? [verification?.digest ?? "-"] : []),
      ]),
    },
    note: `Both sides were read again after the last sync.${digested ? ` ${digest}` : ""}`,
  };
}

function syncsOf({ passes, final_sync }: CutoverSummary): Section {
  const row = (sync: CycleSummary, state: string) => [
    timeText(Date.parse(sync.started_at)),
    state,
    sync.sync_type,
    formatDuration(sync.duration_ms / 1000),
    formatBytes(sync.disks.reduce((sum, disk) => sum + disk.planned_bytes, 0)),
    formatBytes(sync.disks.reduce((sum, disk) => sum + disk.written_bytes, 0)),
  ];
  return {
    title: "Syncs",
    table: {
      headings: ["Started", "Machine", "Type", "Time", "Planned", "Written"],
      rows: [...passes.map((sync) => row(sync, "running")), row(final_sync, "off")],
    },
  };
}

function wayBack({ summary, configName, vmPath, endpoint }: CutoverFacts, name: string): Section {
  const on = {
    text: `Power ${name} on in vSphere. Nothing was changed there but its power state.`,
  };
  const vm =
    configName === undefined
      ? `--vmware-endpoint ${quote(endpoint)} --vmware-path ${quote(vmPath)}`
      : `--config ${quote(configName)}`;
  if (summary === undefined) {
    return {
      title: "How to go back",
      note: `${name} was not moved: its volumes must not be started.`,
      steps: [
        {
          text: "See in vSphere whether it is powered on; if it is not and shall run again, power it on.",
        },
        { text: "To go on, repeat the cutover:", command: `migratekit cutover ${vm}` },
      ],
    };
  }
  if (summary.instance !== undefined) {
    return {
      title: "How to go back",
      steps: [
        {
          text: `With this ${summary.instance.name} is stopped and removed from CloudStack, its volumes hold the last sync again, and ${name} is powered on:`,
          command: `migratekit rollback ${vm} --power-on-source`,
        },
      ],
    };
  }
  return {
    title: "How to go back",
    steps: [
      {
        text: "Stop the instance that runs from the volumes: both must never run at the same time.",
      },
      on,
      summary.conversion === undefined
        ? {
            text: "To move it again later, reopen it: what was written to the volumes since the cutover is lost.",
            command: `migratekit migrate ${vm} --reopen`,
          }
        : {
            text: "To sync it again, bring back what the conversion changed on the volumes:",
            command: `migratekit rollback ${vm}`,
          },
    ],
  };
}

function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** `1 h 2 min 34 s` */
function spanText(ms: number): string {
  const whole = Math.max(0, Math.round(ms / 1000));
  const [h, min, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return `${h > 0 ? `${h} h ` : ""}${whole >= 60 ? `${min} min ` : ""}${s} s`;
}

/** `2026-01-31 19:05:02 UTC` */
function timeText(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}
