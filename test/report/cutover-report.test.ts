// A cutover's report in a real browser, at phone and desktop width and in print, and as text.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import type { Browser } from "playwright-core";
import type { CutoverSummary } from "../../src/migration/cutover/cutover.ts";
import { htmlPage } from "../../src/report/cutover-report/html.ts";
import { type CutoverFacts, pageOf } from "../../src/report/cutover-report/page.ts";
import { plainText } from "../../src/report/cutover-report/plain-text.ts";
import { tempDir } from "../temp-dir.ts";
import { overflowing, startBrowser, watched } from "./browser.ts";

/** MIGRATEKIT_TEST_PICTURES names a folder that keeps what was seen, for people. */
const pictures = process.env.MIGRATEKIT_TEST_PICTURES;
const startedMs = Date.UTC(2026, 0, 31, 19, 5, 2);

function sync(type: "full" | "incremental", at: number, verified: boolean) {
  const disk = (key: number, capacity_bytes: number) => ({
    ...{
      disk_id: `disk-${key}`,
      target: `127.0.0.1:10808#web01-${key}-7f3c2b1e-volume`,
      capacity_bytes,
    },
    ...{ sync_type: type, resumed: false, reason: "", status: "completed" as const },
    planned_bytes: type === "full" ? capacity_bytes / 2 : 3 << 20,
    ...{
      written_bytes: 2 << 20,
      zeroed_bytes: 1 << 20,
      skipped_bytes: 0,
      retries: 0,
      duration_ms: 61_000,
    },
    ...(verified && {
      verification: {
        result: "equal" as const,
        compared: "all",
        compared_bytes: capacity_bytes,
        differing_bytes: 0,
        digest: `sha256:${String(key).repeat(16)}`,
        duration_ms: 5000,
      },
    }),
  });
  return {
    vm: {
      path: "/Datacenter/vm/Production/web01",
      moref: "vm-42",
      instance_uuid: "50292d3c-7a1b-4b5e-9a65-1f2e3d4c5b6a",
    },
    run_id: "0b0e7f64-5d0c-4c43-9a3e-2f6b7a8c9d0e",
    sync_type: type,
    quiesced: true,
    started_at: new Date(startedMs + at).toISOString(),
    duration_ms: 65_000,
    disks: [disk(2000, 40 * 2 ** 30), disk(2001, 500 * 2 ** 30)],
  };
}

function factsOf(verified: boolean): CutoverFacts {
  const summary = {
    ...{
      vm: sync("full", 0, false).vm,
      power_state: "poweredOff",
      forced: false,
      downtime_ms: 154_000,
    },
    passes: [sync("full", 0, false), sync("incremental", 3_600_000, false)],
    final_sync: sync("incremental", 3_700_000, verified),
  } as unknown as CutoverSummary;
  return {
    vmPath: summary.vm.path,
    endpoint: "vcenter.example.com:443",
    account: "migratekit@vsphere.local",
    jobId: "job-20260131-190502",
    configName: "web01",
    verified,
    who: { user: "migratekit (called by anna)", host: "vma01", version: "3.0.0" },
    startedMs,
    endedMs: startedMs + 3_854_000,
    power: undefined,
    summary,
  };
}

/** The same, converted and in CloudStack. */
function deployedFacts(): CutoverFacts {
  const facts = factsOf(true);
  const mac = "00:50:56:8a:10:01";
  const conversion = {
    verdict: "look" as const,
    hardware: {
      ...{ controller: "virtio" as const, firmware: "uefi" as const, secure_boot: true },
      ...{ machine: "q35" as const, nics: [{ mac, model: "virtio" as const }] },
    },
    guest: { os: "linux" as const, product: "Debian GNU/Linux 12 (bookworm)" },
    repairs: [{ name: "efi-boot", detail: "shim and grub were copied to EFI/BOOT" }],
    findings: [{ level: "look" as const, source: "check" as const, text: "/boot lies on disk 1" }],
    duration_ms: 121_000,
  };
  const instance = {
    ...{ name: `${"a".repeat(56)}-50292d`, id: "8d1f7a52-3c14-4f6e-9a0b-0123456789ab" },
    ...{ state: "Running", alive: "192.0.2.10:22 answers" },
    alive_at: new Date(startedMs).toISOString(),
    nics: [{ mac, address: "192.0.2.10" }, { mac: "00:50:56:8a:10:02" }],
    volumes: [{ disk_id: "disk-2000", id: "1c0f6f0e-aaaa-4f6e-9a0b-0123456789ab" }],
    downtime_ms: 274_000,
  };
  const applied = { old_bytes: `/var/lib/migratekit/old-bytes/${"x".repeat(60)}`, disks: [] };
  return { ...facts, summary: { ...facts.summary!, conversion, applied, instance } };
}

const hostile = '<script>document.title="owned"</script>"&\u001b[31m';
const longName = `${"a-very-long-name-without-a-space".repeat(6)}`;

const cases: Record<string, CutoverFacts> = {
  verified: factsOf(true),
  unverified: factsOf(false),
  deployed: deployedFacts(),
  long: {
    ...factsOf(true),
    vmPath: `/Datacenter/vm/${longName}`,
    endpoint: `${longName}.example.com:443`,
    configName: `/etc/migratekit/vms/${longName}.yaml`,
  },
  hostile: { ...factsOf(true), vmPath: `/DC/vm/${hostile}`, account: hostile, configName: hostile },
  failed: {
    ...(({ summary: _, ...facts }) => facts)(factsOf(true)),
    power: "web01 is still powered on, but its guest was asked to shut down and may still do so",
    failure: {
      status: "failed",
      code: "shutdown-failed",
      message: "the guest of web01 was asked to shut down and was not down after 5:00",
      remedy: "Shut the guest down by hand, or allow --force-power-off.",
    },
  },
};

let browser: Browser;
before(async () => {
  browser = await startBrowser();
});
after(() => browser.close());

const views = [
  { name: "phone", width: 360, height: 780, media: "screen" },
  { name: "desktop", width: 1280, height: 900, media: "screen" },
  // A4 less its margins, at 96 dots an inch.
  { name: "print", width: 672, height: 1000, media: "print" },
] as const;

for (const [name, facts] of Object.entries(cases)) {
  test(`the page of a cutover (${name}) overflows nowhere, asks nobody else, and runs nothing`, async () => {
    await using dir = await tempDir();
    const file = join(dir.path, "report.html");
    const page = pageOf(facts);
    writeFileSync(file, htmlPage(page));
    const tab = await browser.newPage();
    const { asked, complaints } = watched(tab);
    await tab.goto(pathToFileURL(file).href);
    assert.deepEqual(asked, [pathToFileURL(file).href]);
    assert.equal(await tab.locator("script").count(), 0);
    assert.equal(await tab.title(), page.title.replace("\u001b", "\ufffd"));
    for (const { name: view, width, height, media } of views) {
      await tab.setViewportSize({ width, height });
      await tab.emulateMedia({ media });
      assert.deepEqual(await overflowing(tab), [], view);
      if (pictures)
        await tab.screenshot({ path: join(pictures, `${name}-${view}.png`), fullPage: true });
    }
    // Everything that is told can be read.
    const seen = (await tab.locator("main").innerText()).replaceAll(/\s+/g, " ");
    for (const section of page.sections) {
      assert.ok(seen.includes(section.title), section.title);
      const told = [...(section.facts ?? []).flat(), ...(section.table?.rows.flat() ?? [])];
      for (const fact of told) {
        assert.ok(seen.includes(fact.replaceAll("\u001b", "\ufffd").replaceAll(/\s+/g, " ")), fact);
      }
    }
    const pdf = await tab.pdf({ format: "A4", preferCSSPageSize: true });
    assert.equal(pdf.subarray(0, 5).toString(), "%PDF-");
    const pages = pdf.toString("latin1").match(/\/Type\s*\/Page\b/g)?.length ?? 0;
    assert.ok(pages >= 1 && pages <= 3, `${pages} pages`);
    if (pictures) writeFileSync(join(pictures, `${name}.pdf`), pdf);
    assert.deepEqual(complaints, []);
    await tab.close();
  });
}

test("the test sees what overflows", async () => {
  const tab = await browser.newPage({ viewport: { width: 360, height: 600 } });
  await tab.setContent(`<main><p style="white-space:nowrap">${"word ".repeat(60)}</p></main>`);
  assert.notDeepEqual(await overflowing(tab), []);
  await tab.close();
});

test("as text it says the same, in lines that a mail keeps", () => {
  for (const facts of Object.values(cases)) {
    const page = pageOf(facts);
    const text = plainText(page);
    const words = text.replaceAll(/\s+/g, " ");
    // biome-ignore lint/suspicious/noControlCharactersInRegex: none may be in it
    assert.doesNotMatch(text, /[\u0000-\u0009\u000b-\u001f]/);
    for (const { title, steps = [] } of page.sections) {
      assert.ok(text.includes(`\n${title}\n---`), title);
      for (const { command } of steps) {
        if (command && !command.includes("\u001b")) assert.ok(words.includes(command), command);
      }
    }
  }
  const text = plainText(pageOf(cases.verified!));
  assert.match(text, /^Downtime +2 min 34 s, from 2026-01-31 20:06:42 UTC/m);
  assert.match(text, /^disk-2000 +equal +40\.0 GiB +sha256:2000/m);
  assert.match(text, /migratekit migrate --config web01 --reopen$/m);
});
