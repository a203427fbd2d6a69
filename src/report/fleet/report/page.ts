/** The page that a customer keeps of a fleet. Pure. */
import type { FleetStatus, FleetVmState, FleetWaveStatus } from "../../../fleet/status.ts";
import { counted, formatBytes, formatDuration } from "../../../text.ts";
import { htmlFrame, htmlText as text } from "../../page/page.ts";
import { type Experience, experienceOf, isTrouble, predictDowntime, totalsOf } from "../fleet.ts";
import { downtimeText } from "../status-text.ts";
import { isVerified, type VmFacts, vmFacts } from "./facts.ts";
import { bytesPlot, shareBar } from "./plot.ts";
import { fleetStyle } from "./style.ts";

export interface ReportFacts {
  readonly title: string;
  readonly who: { readonly user: string; readonly host: string; readonly version: string };
  /** Of `data`, as `sha256sum` has it. */
  readonly sha256: string;
  /** What the page was made from, gzipped: `fleet report --json` prints the same. */
  readonly data: Buffer;
  /** Runs of each VM that were asked for, the newest ones. */
  readonly runsMax: number;
}

const byNumber = new Intl.Collator("en", { numeric: true });

export function fleetPage(status: FleetStatus, report: ReportFacts): string {
  const waves = status.waves.toSorted((a, b) => byNumber.compare(a.name, b.name));
  const vms = status.vms.map(vmFacts).sort((a, b) => byNumber.compare(a.vm.name, b.vm.name));
  const experience = experienceOf(status.vms);
  const byWave = Map.groupBy(vms, ({ vm }) => vm.wave);
  const sections = [
    headHtml(status, report.title),
    summaryHtml(status, vms),
    wavesHtml(waves),
    openHtml(vms),
    ...waves.map((wave) => waveHtml(wave, byWave.get(wave.name) ?? [], experience)),
    evidenceHtml(vms),
    originHtml(status, vms, report),
  ];
  return htmlFrame(report.title, sections.filter((part) => part !== "").join("\n"), fleetStyle);
}

function headHtml({ waves, at }: FleetStatus, title: string): string {
  const { vms, cutOver, inSync, failed } = totalsOf(waves);
  const done = vms > 0 && cutOver === vms;
  const state = done ? "Completed" : failed > 0 ? "Needs attention" : "Under way";
  const kind = done ? "done" : failed > 0 ? "not-done" : "under-way";
  const verdict = done
    ? `All ${counted(vms, "VM")} were cut over.`
    : `${cutOver} of ${counted(vms, "VM")} ${cutOver === 1 ? "was" : "were"} cut over, ${inSync} ${inSync === 1 ? "is" : "are"} in sync${failed > 0 ? `, ${failed} ${failed === 1 ? "needs" : "need"} attention` : ""}.`;
  return `<header>
<p class="state ${kind}">${state}</p>
<h1>${text(title)}</h1>
<p class="verdict">${text(verdict)} As of ${timeText(at)}.</p>
</header>`;
}

function summaryHtml({ waves }: FleetStatus, vms: readonly VmFacts[]): string {
  const totals = totalsOf(waves);
  const sum = (of: (facts: VmFacts) => number) =>
    vms.reduce((total, facts) => total + of(facts), 0);
  const failed = sum((facts) => facts.failed);
  const downtimes = vms.flatMap(({ downtimeMs }) => downtimeMs ?? []).sort((a, b) => a - b);
  const disks = vms.flatMap((facts) => facts.disks);
  const verified = disks.filter(({ verification }) => verification?.result === "equal").length;
  const tiles: [string, string, string][] = [
    ["Virtual machines", `${totals.vms}`, counted(waves.length, "wave")],
    ["Cut over", `${totals.cutOver}`, `${totals.inSync} more in sync`],
    ["Data copied", formatBytes(sum(({ writtenBytes }) => writtenBytes)), sizeText(vms)],
    [
      "Syncs completed",
      `${sum(({ syncs }) => syncs)}`,
      failed === 0 ? "all of them" : `${failed} were not`,
    ],
    downtimes.length === 0
      ? ["Downtime", "-", "no cutover was measured yet"]
      : [
          "Downtime, median",
          formatDuration(downtimes[Math.floor(downtimes.length / 2)]! / 1000),
          `the longest ${formatDuration(downtimes.at(-1)! / 1000)}`,
        ],
    ["Disks verified", `${verified}`, `of ${disks.length}, compared whole and equal`],
  ];
  const cells = tiles.map(
    ([name, value, more]) =>
      `<div><dt>${text(name)}</dt><dd>${text(value)}<span class="more">${text(more)}</span></dd></div>`,
  );
  return `<section>\n<h2>Summary</h2>\n<dl class="tiles">\n${cells.join("\n")}\n</dl>\n</section>`;
}

function sizeText(vms: readonly VmFacts[]): string {
  const bytes = vms.reduce((sum, { capacityBytes = 0 }) => sum + capacityBytes, 0);
  return bytes === 0 ? "so far" : `disks of ${formatBytes(bytes)}`;
}

function wavesHtml(waves: readonly FleetWaveStatus[]): string {
  if (waves.length === 0) return "";
  const rows = waves.map((wave) => {
    const { name, vmCount, inSync, cutOver, failed } = wave;
    const share = (count: number) => (vmCount === 0 ? 0 : count / vmCount);
    const bar = shareBar(
      [
        { kind: "cut-over", share: share(cutOver) },
        { kind: "in-sync", share: share(inSync) },
        { kind: "failed", share: share(failed) },
      ],
      `${cutOver} cut over, ${inSync} in sync, ${failed} need attention, of ${vmCount}`,
    );
    const cells = [
      nameCell("Wave", name),
      cell("Progress", bar),
      cell("VMs", `${vmCount}`, "amount"),
      cell("Cut over", `${cutOver}`, "amount"),
      cell("In sync", `${inSync}`, "amount"),
      cell("Attention", `${failed}`, "amount"),
    ];
    return `<tr>${cells.join("")}</tr>`;
  });
  const key =
    '<p class="key"><span class="cut-over">cut over</span><span class="in-sync">in sync</span><span class="failed">needs attention</span><span>still to come</span></p>';
  const headings = ["Wave", "Progress", "VMs", "Cut over", "In sync", "Attention"];
  return `<section class="long">\n<h2>Waves</h2>\n${table("waves", headings, rows)}\n${key}\n</section>`;
}

/** What is not well, in words. */
function openHtml(vms: readonly VmFacts[]): string {
  const open = vms.filter(({ vm }) => isTrouble(vm));
  if (open.length === 0) return "";
  const rows = open.map(({ vm }) => {
    const { lastError, why } = vm;
    const what = lastError?.message ?? why ?? "its worker is not heard of any more";
    const remedy = lastError?.remedy;
    const cells = [
      nameCell("VM", vm.name),
      cell("Since", lastError === undefined ? "-" : timeText(lastError.at), "whole"),
      cell("What", text(what)),
      cell("What to do", remedy === undefined ? "-" : text(remedy)),
    ];
    return `<tr>${cells.join("")}</tr>`;
  });
  const headings = ["VM", "Since", "What", "What to do"];
  return `<section class="long">\n<h2>What is open</h2>\n${table("vms", headings, rows)}\n</section>`;
}

const vmHeadings = [
  "VM",
  "State",
  "Last sync",
  "Copied",
  "Syncs",
  "Changed between syncs",
  "Downtime",
  "Verified",
] as const;

function waveHtml(
  { name, vmCount }: FleetWaveStatus,
  vms: readonly VmFacts[],
  experience: Experience | undefined,
): string {
  if (vms.length === 0) return "";
  const rows = vms.map((facts) => vmRow(facts, experience));
  return `<section class="long">\n<h2>Wave ${text(name)} <span class="of">${counted(vmCount, "VM")}</span></h2>\n${table("vms", vmHeadings, rows)}\n</section>`;
}

function vmRow(facts: VmFacts, experience: Experience | undefined): string {
  const { vm, syncs, failed, writtenBytes, instance } = facts;
  const at = vm.cutOverAt ?? vm.lastSyncAt;
  const cells = [
    cell("VM", `<div>${text(vm.name)}${small(vm.vmPath)}</div>`),
    cell("State", `<div>${stateBadge(vm.state)}${instance ? small(`now ${instance}`) : ""}</div>`),
    cell("Last sync", at === undefined ? "never" : timeText(at)),
    cell("Copied", text(formatBytes(writtenBytes)), "amount"),
    cell("Syncs", `<div>${syncs}${failed === 0 ? "" : small(`${failed} failed`)}</div>`),
    cell("Changed between syncs", deltasHtml(facts)),
    cell("Downtime", downtimeHtml(facts, experience), "amount"),
    cell("Verified", isVerified(facts) ? "yes" : "-"),
  ];
  return `<tr>${cells.join("")}</tr>`;
}

function deltasHtml({ vm, deltas }: VmFacts): string {
  const last = deltas.at(-1);
  if (last === undefined) return "-";
  if (deltas.length === 1) return `<div>${small(`once, ${formatBytes(last.bytes)}`)}</div>`;
  const most = deltas.reduce((bytes, delta) => Math.max(bytes, delta.bytes), 0);
  const plot = bytesPlot(deltas, `what ${vm.name}'s syncs found changed`);
  return `<div>${plot}${small(`last ${formatBytes(last.bytes)}, most ${formatBytes(most)}`)}</div>`;
}

/** As measured; before that what is foretold, and where nothing but the last sync is known, that it is more. */
function downtimeHtml({ vm, downtimeMs }: VmFacts, experience: Experience | undefined): string {
  if (downtimeMs !== undefined) return formatDuration(downtimeMs / 1000);
  const foretold = predictDowntime(vm, experience);
  if (foretold === undefined) return "-";
  return `<div>${text(downtimeText(foretold))}${small("foretold")}</div>`;
}

const states: Readonly<Record<FleetVmState, { readonly said: string; readonly kind: string }>> = {
  waiting: { said: "scheduled", kind: "" },
  due: { said: "due", kind: "" },
  running: { said: "running", kind: "" },
  paused: { said: "paused", kind: "" },
  blocked: { said: "waits for others", kind: "" },
  failed: { said: "needs attention", kind: "bad" },
  takeover: { said: "worker lost", kind: "bad" },
  "cut-over": { said: "cut over", kind: "good" },
};

function stateBadge(state: FleetVmState): string {
  const { said, kind } = states[state];
  return `<span class="badge ${kind}">${said}</span>`;
}

/** Comparisons of whole disks, with what can be checked on the target itself. */
function evidenceHtml(vms: readonly VmFacts[]): string {
  const rows = vms.flatMap(({ vm, disks }) =>
    disks.flatMap(({ id, capacityBytes, verification }) => {
      if (verification === undefined) return [];
      const { result, comparedBytes, digest } = verification;
      const cells = [
        nameCell("VM", vm.name),
        nameCell("Disk", id),
        cell(
          "Size",
          capacityBytes === undefined ? "-" : text(formatBytes(capacityBytes)),
          "amount",
        ),
        cell("Result", text(result)),
        cell(
          "Compared",
          comparedBytes === undefined ? "-" : text(formatBytes(comparedBytes)),
          "amount",
        ),
        cell("SHA-256 of the target", text(digest?.replace(/^sha256:/, "") ?? "-"), "digest"),
      ];
      return [`<tr>${cells.join("")}</tr>`];
    }),
  );
  const headings = ["VM", "Disk", "Size", "Result", "Compared", "SHA-256 of the target"];
  const compared =
    "Both sides were read again, whole, by the last run of the VM. A digest is that of the volume's first bytes, as many as the disk has: sha256sum gives the same as long as nothing has written to it.";
  const none =
    "After each sync a part of what was written was compared over new connections. A comparison of whole disks was not asked for (--verify).";
  return rows.length === 0
    ? `<section>\n<h2>Verification</h2>\n<p class="note">${none}</p>\n</section>`
    : `<section class="long">\n<h2>Verification</h2>\n${table("evidence", headings, rows)}\n<p class="note">${compared}</p>\n</section>`;
}

function originHtml(
  { at }: FleetStatus,
  vms: readonly VmFacts[],
  { who, sha256, data, runsMax }: ReportFacts,
): string {
  const facts: [string, string][] = [
    ["State of", timeText(at)],
    ["Made by", text(`migratekit ${who.version}, ${who.user} on ${who.host}`)],
    ["SHA-256 of the data", `<span class="digest">${sha256}</span>`],
  ];
  const foretold = vms.some(({ vm }) => predictDowntime(vm, undefined) !== undefined);
  const basis = foretold
    ? " A downtime that is foretold is the last sync's, and what cutovers took besides, in the median, once one was measured."
    : "";
  const cut = vms.some(({ vm }) => vm.syncs.length >= runsMax);
  const bounded = cut ? ` Sums are of the newest ${runsMax} runs of each VM.` : "";
  const link = `<p class="note download"><a download="fleet-report.json.gz" href="data:application/gzip;base64,${data.toString("base64")}">The data that this page was made from</a> lies in the page: <code>gunzip -c fleet-report.json.gz | sha256sum</code> gives the digest above.</p>`;
  const rows = facts.map(([name, value]) => `<div><dt>${name}</dt><dd>${value}</dd></div>`);
  return `<section>\n<h2>Where this comes from</h2>\n<dl>\n${rows.join("\n")}\n</dl>\n<p class="note">The figures are those that each run left in the fleet's database when it ended.${bounded}${basis}</p>\n${link}\n</section>`;
}

function table(kind: string, headings: readonly string[], rows: readonly string[]): string {
  const head = headings.map((heading) => `<th scope="col">${heading}</th>`).join("");
  return `<table class="${kind}">\n<thead><tr>${head}</tr></thead>\n<tbody>\n${rows.join("\n")}\n</tbody>\n</table>`;
}

/** `html` is HTML; the heading is for where the cells of a row stand below one another. */
function cell(heading: string, html: string, kind = ""): string {
  const classes = [kind, html === "-" ? "none" : ""].filter((one) => one !== "").join(" ");
  return `<td data-heading="${heading}"${classes === "" ? "" : ` class="${classes}"`}>${html}</td>`;
}

/** A short one stays on one line, whatever else stands beside it. */
function nameCell(heading: string, name: string): string {
  return cell(heading, text(name), name.length <= 24 ? "whole" : "");
}

function small(value: string): string {
  return `<span class="small">${text(value)}</span>`;
}

/** `2026-01-31 19:05 UTC` */
function timeText(at: string): string {
  return `${text(at.slice(0, 16).replace("T", " "))} UTC`;
}
