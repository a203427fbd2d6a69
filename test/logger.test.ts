import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { addSecret, createLogger, redact } from "../src/logger.ts";

const secret = 'P@ss "wörd" <1>&\\2\n';
const xml = "P@ss &quot;wörd&quot; &lt;1&gt;&amp;\\2\n";
const forms = [
  secret,
  JSON.stringify(secret).slice(1, -1),
  encodeURIComponent(secret),
  Buffer.from(secret).toString("base64"),
  xml,
];

function logLines(pretty: boolean, log: (logger: ReturnType<typeof createLogger>) => void): string {
  let text = "";
  const destination = {
    write(line: string): void {
      text += line;
    },
  };
  log(createLogger({ level: "debug", pretty, destination }));
  return text;
}

for (const pretty of [false, true]) {
  test(`A secret is nowhere in ${pretty ? "readable" : "JSON"} logs, whatever it hides in`, () => {
    addSecret(secret);
    const text = logLines(pretty, (logger) => {
      const cause = new Error(`refused: ${secret}`);
      const error = Object.assign(new Error(`login with ${secret}`, { cause }), {
        config: { data: JSON.stringify({ password: secret }) },
        list: [[secret]],
      });
      logger.error({ error }, "failed");
      logger.error(error);
      logger.info({ deep: { down: [{ here: `x${secret}y` }] }, [`key ${secret}`]: 1 }, secret);
      logger.child({ url: `http://u:${encodeURIComponent(secret)}@h/` }).warn("%s", secret);
      for (const form of forms) logger.debug({ body: form }, `<password>${form}</password>`);
    });
    assert.ok(text.includes("[secret]"));
    for (const form of forms) {
      assert.ok(!text.includes(form), form);
      assert.ok(!text.includes(JSON.stringify(form).slice(1, -1)), form);
    }
    assert.ok(!/P@ss|P%40ss/.test(text), text);
  });
}

test("JSON logs stay valid JSON when a secret looks like a number in them", () => {
  addSecret("1795436");
  const text = logLines(false, (logger) => logger.info({ bytes: 17954360 }, "id 1795436"));
  const line = JSON.parse(text);
  assert.equal(line.bytes, 17954360);
  assert.equal(line.msg, "id [secret]");
});

test("A secret that contains another one goes as a whole", () => {
  addSecret("inner-part");
  addSecret("the-inner-part-and-more");
  assert.equal(redact("a the-inner-part-and-more b"), "a [secret] b");
});

test("An error under `error` has its type, message, stack and cause", () => {
  const error = new TypeError("outer", { cause: new Error("inner") });
  const line = JSON.parse(logLines(false, (logger) => logger.error({ error }, "failed")));
  assert.equal(line.error.type, "TypeError");
  assert.match(line.error.stack, /logger\.test/);
  assert.equal(line.error.cause.message, "inner");
});

test("The logger works bundled into one file, and a reader of stderr that went away ends nothing", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "migratekit-logger-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const source = join(folder, "main.ts");
  const loggerPath = fileURLToPath(new URL("../src/logger.ts", import.meta.url));
  writeFileSync(
    source,
    `import { createLogger } from ${JSON.stringify(loggerPath)};
     const logger = createLogger({ level: "info", pretty: process.argv[2] === "pretty" });
     for (let i = 0; i < Number(process.argv[3]); i++) logger.info({ disk: "disk-2000" }, "bundled");
     console.log("reached the end");`,
  );
  const outfile = join(folder, "bundle.cjs");
  await build({
    entryPoints: [source],
    bundle: true,
    platform: "node",
    format: "cjs",
    outfile,
    logLevel: "silent",
  });
  const run = (...args: string[]) =>
    spawnSync(process.execPath, [outfile, ...args], { cwd: "/", encoding: "utf8" });
  assert.match(run("pretty", "1").stderr, /^\[[\d:]{8}Z\] INFO: bundled \(disk disk-2000\)\n$/);
  assert.equal(JSON.parse(run("json", "1").stderr).msg, "bundled");
  const command = `'${process.execPath}' '${outfile}' json 20000 2>&1 >&3 | head -n 1 >/dev/null`;
  const piped = spawnSync("bash", ["-c", `exec 3>&1; ${command}; echo \${PIPESTATUS[0]}`], {
    encoding: "utf8",
  });
  assert.equal(piped.stdout, "reached the end\n0\n");
});

test("Readable lines are words: no JSON, no number that is for machines, the time in UTC and said so", (t) => {
  const zone = process.env.TZ;
  t.after(() => {
    if (zone === undefined) delete process.env.TZ;
    else process.env.TZ = zone;
  });
  process.env.TZ = "Asia/Kolkata";
  const before = new Date();
  const text = logLines(true, (logger) => {
    const run = logger.child({ vm: "web01", runId: "run-1" });
    run.info({ disk: "disk-2000", plannedBytes: 35648000 }, "disk-2000: full copy");
    run.warn({ reason: "ECONNREFUSED", attempt: 3 }, "the service does not answer");
    run.warn({ snapshot: "snapshot-7", snapshotName: "migratekit 1" }, "removing a snapshot");
    run.warn({ killed: [] }, "removed a folder");
    run.warn({ killed: [311, 312] }, "removed another");
    run.debug({ bytes: 512 }, "asked");
  });
  assert.deepEqual(
    text
      .trimEnd()
      .split("\n")
      .map((line) => line.replace(/^\[[\d:]{8}Z\] /, "")),
    [
      "INFO: web01: disk-2000: full copy",
      "WARN: web01: the service does not answer (reason ECONNREFUSED)",
      "WARN: web01: removing a snapshot (snapshot snapshot-7, snapshotName migratekit 1)",
      "WARN: web01: removed a folder",
      "WARN: web01: removed another (killed 311, 312)",
      "DEBUG: web01: asked (bytes 512)",
    ],
  );
  const times = [before, new Date()].map((time) => time.toISOString().slice(11, 16));
  assert.ok(times.includes(text.slice(1, 6)), `${text.slice(0, 10)} is about ${times}`);
});
