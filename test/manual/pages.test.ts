// Pages beside the walk whose files and commands are run as they stand there: the tunnel, the list of VMs; and that of JSON.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { promisify } from "node:util";
import { slugOf } from "../../src/command-tree.ts";
import { flagsOf } from "../../src/manual/flags.ts";
import { commandNames } from "../../src/options.ts";
import { findFreePort } from "../lab/ports.ts";
import { startCli } from "../lab/run-cli.ts";
import { startLab } from "../lab/start-lab.ts";
import { until } from "../until.ts";

const docs = join(import.meta.dirname, "../../docs");
const pageOf = (name: string) => readFileSync(join(docs, name), "utf8");
const dir = mkdtempSync(join(tmpdir(), "mk-pages-"));
after(() => rmSync(dir, { recursive: true, force: true }));

/** The blocks of a language, by the path named last before each, or by the word behind the language. */
function blocks(markdown: string, language: string): Map<string, string> {
  const found = markdown.matchAll(
    new RegExp(`^\`\`\`${language} ?(\\w*)\\n([\\s\\S]*?)^\`\`\`$`, "gm"),
  );
  return new Map(
    [...found].map((match) => {
      const before = [...markdown.slice(0, match.index).matchAll(/`(\/etc\/[^`\s]+)`/g)].at(
        -1,
      )?.[1];
      return [match[1] || before || "", match[2]!];
    }),
  );
}

test("the tunnel's page: its certificate, both ends and the server, and what is asked through them", async () => {
  const page = pageOf("tunnel.md");
  const volume = join(dir, "web01-system");
  writeFileSync(volume, Buffer.alloc(1 << 20));
  const [near, tls, far] = [await findFreePort(), await findFreePort(), await findFreePort()];
  const here = (text: string) =>
    text
      .replaceAll("tunnel.example.com:20808", `127.0.0.1:${tls}`)
      .replaceAll(/\b20808\b/g, `127.0.0.1:${tls}`)
      .replaceAll("10808", String(near))
      .replaceAll("10809", String(far))
      .replaceAll(/\/etc\/(stunnel|nbd-server)/g, dir)
      .replaceAll("/dev/cloudstack/web01-system", volume);
  const run = (script: string) => promisify(execFile)("bash", ["-ec", here(script)], { cwd: dir });
  const commands = blocks(page, "sh");
  await run(commands.get("server")!);
  const files = blocks(page, "ini");
  files.delete("nbds"); // of the way without a tunnel, below
  assert.deepEqual(
    [...files.keys()],
    [
      "/etc/nbd-server/config",
      "/etc/stunnel/migratekit-server.conf",
      "/etc/stunnel/migratekit-client.conf",
    ],
  );
  for (const [path, text] of files) {
    // In the foreground, to end with the test; the page's own lines follow.
    const ours = path.includes("stunnel") ? `foreground = yes\npid =\nsyslog = no\n` : "";
    writeFileSync(here(path), ours + here(text));
  }
  const ends = ["migratekit-server.conf", "migratekit-client.conf"].map((name) =>
    execFile("stunnel", [join(dir, name)]),
  );
  const server = execFile("nbd-server", ["-d", "-C", join(dir, "config"), "-p", join(dir, "pid")]);
  try {
    const ask = commands.get("appliance")!;
    await until("the volume is reached", async () =>
      run(ask).then(
        ({ stdout }) => stdout.trim() === String(1 << 20),
        () => false,
      ),
    );
  } finally {
    for (const child of [...ends, server]) child.kill("SIGKILL");
  }
});

test("the tunnel's page: TLS of both servers without a tunnel, for those who have a certificate alone", async () => {
  const page = pageOf("tunnel.md");
  const place = join(dir, "nbds");
  mkdirSync(place);
  const volume = join(place, "web01-system");
  writeFileSync(volume, Buffer.alloc(1 << 20));
  const ports = { 10809: await findFreePort(), 10810: await findFreePort() };
  const here = (text: string) =>
    text
      .replaceAll("nbd.example.com", "localhost")
      .replaceAll(/\b(10809|10810)\b/g, (port) => String(ports[port as "10809" | "10810"]))
      .replaceAll("/etc/nbd-tls", join(place, "tls"))
      .replaceAll("/etc/migratekit/tls", join(place, "appliance"))
      .replaceAll("/dev/cloudstack/web01-system", volume);
  const run = (script: string) => promisify(execFile)("bash", ["-ec", here(script)]);
  const commands = blocks(page, "sh");
  await run(commands.get("certificates")!);
  const stranger = join(place, "stranger");
  for (const [folder, names] of [
    [join(place, "appliance"), ["ca-cert.pem", "client-cert.pem", "client-key.pem"]],
    [stranger, ["ca-cert.pem"]],
  ] as const) {
    mkdirSync(folder);
    for (const name of names) copyFileSync(join(place, "tls", name), join(folder, name));
  }
  const config = join(place, "config");
  writeFileSync(config, here(blocks(page, "ini").get("nbds")!));
  const [program = "", ...args] = here(commands.get("qemu")!).replaceAll("\\\n", "").split(/\s+/);
  const servers = [
    execFile("nbd-server", ["-d", "-C", config, "-p", join(place, "pid")]),
    execFile(program, args.filter(Boolean)),
  ];
  try {
    const ask = commands.get("nbds")!;
    for (const question of [ask, ask.replace("10809", "10810")]) {
      await until("the volume is reached", async () =>
        run(question).then(
          ({ stdout }) => stdout.trim() === String(1 << 20),
          () => false,
        ),
      );
      await assert.rejects(run(question.replace("/etc/migratekit/tls", stranger)), /nbdinfo/);
      await assert.rejects(
        run(question.replace(/nbds:|\?[^"]*/g, (part) => (part === "nbds:" ? "nbd:" : ""))),
        /nbdinfo/,
      );
    }
  } finally {
    for (const child of servers) child.kill("SIGKILL");
  }
});

test("the list's page: its file is migrated by its command, and beats what it says it beats", async () => {
  const page = pageOf("several-vms.md");
  const fill = { seed: 5, dataRatio: 0.6, zeroRatio: 0.2 };
  const disk = { capacityBytes: 1 << 20, fill };
  await using lab = await startLab({
    targets: "direct",
    vms: [
      { name: "web01", folder: "Production", disks: [disk] },
      { name: "db01", folder: "Production", disks: [disk, disk] },
    ],
  });
  const list = [...blocks(page, "yaml").values()][0]!
    .replaceAll("vcenter.example.com", lab.vcenter.endpoint)
    .replaceAll("migratekit@vsphere.local", lab.vcenter.username)
    .replaceAll("/etc/migratekit/credentials/vcenter", lab.passwordFile)
    .replaceAll("10808", String(lab.targets.port));
  const file = join(dir, "tonight.yaml");
  writeFileSync(file, list);
  const [, ...words] = [...blocks(page, "sh").values()][0]!.trim().split(" ");
  const env = {
    ...lab.cliEnv(),
    MIGRATEKIT_VMWARE_THUMBPRINT: lab.vcenter.thumbprintSha1,
    // Weaker than the list, so that it cannot be what is used.
    MIGRATEKIT_NBD_EXPORT_NAME: "none",
  };
  const args = words.map((word) => (word === "tonight.yaml" ? file : word));
  const run = await startCli({ args, env }).result;
  assert.equal(run.code, 0, run.stderr);
  assert.match(run.stdout, /2 of 2 VMs completed/);
  assert.equal(lab.vma.jobs.get("web01-tonight")?.status, "completed");
  for (const name of ["web01", "db01"]) {
    const vm = lab.vm(name);
    for (const { record } of vm.disks)
      assert.ok((await lab.compareDisk(vm, record.key)).equal, name);
  }
  const listed = list.replace("job-id: web01-tonight", "memory: 64M");
  writeFileSync(file, listed);
  assert.match(
    (await startCli({ args, env }).result).stderr,
    /tonight\.yaml:\d+: memory is not for one VM/,
  );
});

test("the page of JSON names every command that has it, and its schema is there", () => {
  const page = pageOf("json.md");
  for (const name of commandNames) {
    if (!flagsOf(name).some((flag) => flag.name === "--json")) continue;
    const line = new RegExp(`^\\| \`${name}[^|]* \\| \\[[^\\]]*\\]\\((json/[^)]+)\\)`, "m").exec(
      page,
    );
    assert.equal(line?.[1], `json/${slugOf(name)}.schema.json`, `${name} in docs/json.md`);
    assert.ok(existsSync(join(docs, line[1]!)), line[1]);
  }
});

test("the laboratory's printed environment is all that check needs", async () => {
  await using lab = await startLab({ targets: "direct" });
  const vm = lab.vm("MyVM");
  const env = { ...lab.cliEnv(), MIGRATEKIT_VMWARE_PASSWORD: lab.vcenter.password };
  const named = [
    "--vmware-endpoint",
    lab.vcenter.endpoint,
    "--vmware-username",
    lab.vcenter.username,
  ];
  const more = ["--vmware-path", vm.path, "--nbd-export-name", lab.targets.exportTemplate(vm)];
  const run = await startCli({ args: ["check", ...named, ...more], env }).result;
  assert.equal(run.code, 0, run.stdout + run.stderr);
});
