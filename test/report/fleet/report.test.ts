// The report of a fleet in a real browser, at phone and desktop width and in print, and the data within it.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { gunzipSync } from "node:zlib";
import type { Browser } from "playwright-core";
import type { FleetStatus } from "../../../src/fleet/status.ts";
import { vmFacts } from "../../../src/report/fleet/report/facts.ts";
import { bytesPlot } from "../../../src/report/fleet/report/plot.ts";
import { makeFleetReport } from "../../../src/report/fleet/report/report.ts";
import { tempDir } from "../../temp-dir.ts";
import { overflowing, startBrowser, watched } from "../browser.ts";
import { ago, busyFleet, cutoverOf, largeFleet, nowMs, statusOf, syncOf, vmOf } from "./sample.ts";

/** MIGRATEKIT_TEST_PICTURES names a folder that keeps what was seen, for people. */
const pictures = process.env.MIGRATEKIT_TEST_PICTURES;

/** All VMs cut over and verified, disks of several. */
function doneFleet(): FleetStatus {
  const names = ["db01", "db02", "app01", "app02", "web01", "web02", "web03", "mail01"];
  return statusOf(
    names.map((name, at) => {
      const cutover = cutoverOf(600 - at * 7, 18_000 + at * 900, 120_000 + at * 11_000);
      const deltas = Array.from({ length: 20 }, (_, run) =>
        syncOf(4000 - run * 150, { bytes: (20 + ((run * 37 + at * 11) % 90)) << 20, disks: 2 }),
      );
      const first = syncOf(5000, { type: "full", bytes: (20 + at) * 2 ** 30, durationMs: 900_000 });
      return vmOf(name, "cut-over", {
        wave: name.startsWith("db") ? "2" : "1",
        lastSyncAt: ago(600 - at * 7),
        cutOverAt: ago(600 - at * 7),
        syncs: [first, ...deltas, cutover],
      });
    }),
  );
}

const hostile = `<script>document.title="owned"</script>"><img src=http://192.0.2.1/x onerror=alert(1)>'&\u001b[31m`;
const longName = "a-very-long-name-without-a-space".repeat(5);

function withNames(name: string): FleetStatus {
  const error = { at: ago(5), code: "usage", message: name, remedy: name };
  const syncs = [syncOf(30, { disks: 2, digest: "ab" })];
  const wide = { wave: name, vmPath: `/DC/vm/${name}`, worker: name, why: name };
  return statusOf([
    vmOf(name, "failed", { ...wide, failures: 2, lastError: error, syncs, lastSyncAt: ago(30) }),
    vmOf(`${name}2`, "takeover", { ...wide }),
    vmOf(`${name}3`, "cut-over", { ...wide, cutOverAt: ago(9), syncs: [cutoverOf(9, 1000, 9e6)] }),
  ]);
}

const cases: Record<string, { status: FleetStatus; title: string; pagesMax: number }> = {
  "under-way": { status: busyFleet(), title: "Migration to the new cloud", pagesMax: 4 },
  done: { status: doneFleet(), title: "Migration to the new cloud", pagesMax: 4 },
  large: { status: largeFleet(300), title: "Three hundred machines", pagesMax: 60 },
  long: { status: withNames(longName), title: longName, pagesMax: 8 },
  hostile: { status: withNames(hostile), title: hostile, pagesMax: 8 },
  empty: { status: statusOf([]), title: "Nothing yet", pagesMax: 2 },
};

let browser: Browser;
before(async () => {
  browser = await startBrowser();
});
after(() => browser.close());

const views = [
  { name: "phone", width: 390, height: 844, media: "screen" },
  { name: "desktop", width: 1280, height: 900, media: "screen" },
  // A4 less its margins, at 96 dots an inch.
  { name: "print", width: 672, height: 1000, media: "print" },
] as const;

const clean = (text: string) => text.replaceAll("\u001b", "\ufffd").replaceAll(/\s+/g, " ");

for (const [name, { status, title, pagesMax }] of Object.entries(cases)) {
  test(`the page of a fleet (${name}) overflows nowhere, asks nobody, and runs nothing`, async () => {
    await using dir = await tempDir();
    const file = join(dir.path, "report.html");
    writeFileSync(file, makeFleetReport(status, title).html);
    const tab = await browser.newPage();
    const { asked, complaints } = watched(tab);
    await tab.goto(pathToFileURL(file).href);
    assert.deepEqual(asked, [pathToFileURL(file).href]);
    assert.equal(await tab.locator("script, img, iframe, object, link").count(), 0);
    assert.equal(clean(await tab.title()), clean(title));
    for (const { name: view, width, height, media } of views) {
      await tab.setViewportSize({ width, height });
      await tab.emulateMedia({ media });
      assert.deepEqual(await overflowing(tab), [], view);
      if (pictures && name !== "large")
        await tab.screenshot({ path: join(pictures, `fleet-${name}-${view}.png`), fullPage: true });
    }
    // Everything that is told can be read.
    const seen = clean(await tab.locator("main").innerText());
    for (const vm of status.vms) {
      for (const said of [vm.name, vm.vmPath, vm.wave, vm.lastError?.message ?? ""]) {
        assert.ok(seen.includes(clean(said)), said);
      }
    }
    const plotted = status.vms.filter((vm) => vmFacts(vm).deltas.length > 1);
    assert.equal(await tab.locator(".plot").count(), plotted.length);
    const pdf = await tab.pdf({ format: "A4", preferCSSPageSize: true });
    const pages = pdf.toString("latin1").match(/\/Type\s*\/Page\b/g)?.length ?? 0;
    assert.ok(pages >= 1 && pages <= pagesMax, `${pages} pages`);
    if (pictures) writeFileSync(join(pictures, `fleet-${name}.pdf`), pdf);
    assert.deepEqual(complaints, []);
    await tab.close();
  });
}

test("the data that the page was made from can be saved from it, and its digest is on the page", async () => {
  const { html, json, sha256 } = makeFleetReport(busyFleet(), "Migration");
  await using dir = await tempDir();
  const file = join(dir.path, "report.html");
  writeFileSync(file, html);
  const tab = await browser.newPage();
  await tab.goto(pathToFileURL(file).href);
  const saving = tab.waitForEvent("download");
  await tab.getByText("The data that this page was made from").click();
  const saved = join(dir.path, "data.gz");
  await (await saving).saveAs(saved);
  await tab.close();
  const data = gunzipSync(readFileSync(saved));
  assert.equal(data.toString(), json);
  assert.equal(createHash("sha256").update(data).digest("hex"), sha256);
  assert.ok(html.includes(sha256));
  const document = JSON.parse(json) as { title: string; vms: { name: string }[] };
  assert.equal(document.title, "Migration");
  assert.equal(document.vms.length, busyFleet().vms.length);
});

test("downtime, bytes and digests are those of the runs", async () => {
  const { html } = makeFleetReport(doneFleet(), "Done");
  const text = html.replaceAll(/<[^>]+>/g, " ").replaceAll(/\s+/g, " ");
  assert.match(text, /All 8 VMs were cut over\./);
  assert.match(text, /Downtime, median 2:44 the longest 3:17/);
  assert.match(text, /Disks verified 8 of 8, compared whole and equal/);
  assert.equal(html.match(new RegExp("ab".repeat(32), "g"))?.length, 8);
  const { writtenBytes, syncs, deltas } = vmFacts(doneFleet().vms[0]!);
  assert.equal(syncs, 22);
  assert.equal(deltas.length, 20, "neither the full copy nor the cutover");
  const expected = doneFleet().vms[0]!.syncs.map(
    ({ ending }) =>
      ending as {
        total: { written_bytes: number };
        passes?: { total: { written_bytes: number } }[];
      },
  );
  assert.equal(
    writtenBytes,
    expected.reduce(
      (sum, { total, passes = [] }) =>
        sum + total.written_bytes + (passes[0]?.total.written_bytes ?? 0),
      0,
    ),
  );
});

test("a comparison that a later run has written over is no evidence any more", () => {
  const verified = syncOf(60, { digest: "cd" });
  const facts = (...syncs: (typeof verified)[]) => vmFacts(vmOf("a", "waiting", { syncs }));
  assert.ok(facts(syncOf(90), verified).disks[0]!.verification);
  assert.equal(facts(verified, syncOf(30)).disks[0]!.verification, undefined);
  assert.equal(facts(verified, syncOf(30, { status: "failed" })).disks[0]!.verification, undefined);
  const refused = { status: "failed", total: { written_bytes: 0, zeroed_bytes: 0 } };
  const harmless = { ...syncOf(30, { status: "failed" }), ending: refused };
  assert.ok(
    facts(verified, harmless).disks[0]!.verification,
    "it is known to have written nothing",
  );
});

test("points stand in time and in height where they belong, within the picture", () => {
  const at = (minutes: number) => nowMs + minutes * 60_000;
  const svg = bytesPlot(
    [
      { atMs: at(0), bytes: 0 },
      { atMs: at(30), bytes: 100 },
      { atMs: at(60), bytes: 50 },
    ],
    "x",
  );
  const circles = [...svg.matchAll(/cx="([\d.]+)" cy="([\d.]+)"/g)].map(([, x, y]) => [
    Number(x),
    Number(y),
  ]);
  assert.deepEqual(circles, [
    [4, 30],
    [75, 4],
    [146, 17],
  ]);
  for (const few of [[], [{ atMs: 1, bytes: 7 }]]) assert.equal(bytesPlot(few, "x"), "");
  const many = Array.from({ length: 50 }, (_, run) => ({ atMs: at(run), bytes: run }));
  assert.equal(bytesPlot(many, "x").match(/<circle/g)?.length, 1);
  assert.doesNotMatch(
    bytesPlot(
      Array.from({ length: 5 }, () => ({ atMs: 1, bytes: 0 })),
      "x",
    ),
    /NaN|Infinity/,
  );
});
