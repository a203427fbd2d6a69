/**
 * The units under a real systemd: boots a minimal Debian 12 with the package installed in a
 * container, and has it sync a VM of the lab by `migratekit@lab.service` and then by its timer, and
 * export a volume by `migratekit-export.service`. Needs root, and `npm run package` before.
 *
 *   .ci/node .ci/package/try-units.mjs
 */
import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { serialOf } from "../../test/lab/cloudstack/world/records.ts";
import { findFreePort } from "../../test/lab/ports.ts";
import { underRoot } from "../setup/run.mjs";
import { BootedRoot } from "./booted-root.mjs";
import { expect, minimalRoot, Root, say, title } from "./minimal-root.mjs";

const vm = "MyVM";
/** Wherever this clone lies: the unit has /tmp and /var/tmp to itself, and sees nothing of /home and /root. */
const places = "/srv";

async function main() {
  mkdirSync(places, { recursive: true });
  const work = mkdtempSync(join(places, "migratekit-try-"));
  chmodSync(work, 0o755);
  const root = new Root(join(work, "root"));
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rmSync(work, { recursive: true, force: true }));
  title("A minimal Debian 12 with systemd");
  prepare(root);
  const lab = await startLab(join(work, "lab"), stack);
  configure(root.path, lab);
  const booted = await BootedRoot.boot(root.path, [join(work, "lab")]);
  stack.defer(() => booted.stop());
  await syncByService(booted, lab);
  await syncByTimer(booted, lab);
  await cutOver(booted);
  lookForSecrets(booted, lab);
  await exportVolume(booted);
  removeWhileBooted(booted, work);
  console.log("The units: all is well");
}

function prepare(root) {
  root.prepare(minimalRoot("bookworm"));
  root.sh("apt-get install -y -q --no-install-recommends systemd systemd-sysv dbus");
  const [deb] = globSync("migratekit_*_amd64.deb", { cwd: underRoot("dist") });
  copyFileSync(underRoot(join("dist", deb)), join(root.path, "tmp", deb));
  root.sh(`apt-get install -y -q --no-install-recommends /tmp/${deb}`);
  root.sh("apt-get install -y -q --no-install-recommends qemu-system-common util-linux");
  const place = "/usr/lib/systemd/system";
  const services = ["migratekit@", "migratekit-export", "migratekit-worker"].map(
    (name) => `${place}/${name}.service`,
  );
  const units = [...services, `${place}/migratekit@.timer`].join(" ");
  const verdict = root.sh(`systemd-analyze verify --man=no ${units}`);
  expect(verdict === "", `systemd-analyze verify finds nothing ${verdict}`);
  for (const service of services) {
    const security = root.sh(`systemd-analyze security --offline=true --no-pager ${service}`);
    say(security.split("\n").at(-1));
  }
  root.release();
  rmSync(join(root.path, "usr/sbin/policy-rc.d"));
}

async function startLab(folder, stack) {
  mkdirSync(folder);
  const env = { PATH: process.env.PATH, TMPDIR: folder };
  const child = spawn(underRoot(".ci/node"), [underRoot("test/lab/lab.ts"), "--json"], {
    stdio: ["ignore", "pipe", "inherit"],
    env,
  });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  stack.defer(async () => {
    child.kill("SIGTERM");
    await ended;
  });
  let text = "";
  for await (const chunk of child.stdout) {
    text += chunk;
    if (text.includes("\n")) break;
  }
  const lab = bringParts(JSON.parse(text), folder);
  // What stands for VMware's library runs as the unit's account, and reads the lab's files.
  chmodSync(lab.dir, 0o755);
  chmodSync(join(lab.dir, "vddk/credentials"), 0o644);
  return lab;
}

/** What the lab links to in this clone lies in its own folder then. */
function bringParts(lab, folder) {
  const library = join(lab.vddkLibdir, "lib64/libvixDiskLib.so.8");
  const copied = readFileSync(library);
  rmSync(library);
  writeFileSync(library, copied, { mode: 0o755 });
  const vddkPlugin = join(folder, "nbdkit-vddk-plugin.so");
  copyFileSync(lab.vddkPlugin, vddkPlugin);
  return { ...lab, vddkPlugin };
}

function configure(root, lab) {
  const place = join(root, "etc/migratekit");
  const machine = {
    "vmware-endpoint": lab.endpoint,
    "vmware-username": lab.username,
    "vmware-thumbprint": lab.thumbprintSha1,
    "vddk-plugin": lab.vddkPlugin,
    "vddk-libdir": lab.vddkLibdir,
    "nbd-port": lab.nbdPort,
    "vma-url": lab.vmaUrl,
  };
  const { path, exportName } = lab.vms.find(({ name }) => name === vm);
  const own = { "vmware-path": path, "nbd-export-name": exportName, "job-id": "unit-job" };
  const yaml = (settings) =>
    Object.entries(settings).map(([name, value]) => `${name}: ${JSON.stringify(value)}\n`);
  writeFileSync(join(place, "config.yaml"), yaml(machine).join(""));
  writeFileSync(join(place, "vms/lab.yaml"), yaml(own).join(""));
  writeFileSync(join(place, "credentials/lab"), `${lab.password}\n`, { mode: 0o600 });
  const dropIn = join(root, "etc/systemd/system/migratekit@lab.timer.d");
  mkdirSync(dropIn, { recursive: true });
  const timer = "[Timer]\nOnCalendar=\nOnCalendar=*:*:0/5\nRandomizedDelaySec=0\nAccuracySec=1s\n";
  writeFileSync(join(dropIn, "often.conf"), timer);
}

async function syncByService(booted, lab) {
  title("systemctl start migratekit@lab.service");
  const started = booted.run("systemctl", "start", "migratekit@lab.service");
  const journal = journalOf(booted);
  expect(
    started.status === 0,
    `the unit ends well ${started.status ? `${started.output}\n${journal}` : ""}`,
  );
  expect(/full copy/.test(journal), "a full copy was made");
  await expectEqual(lab);
  const owner = booted.run("find", "/var/lib/migratekit", "!", "-user", "migratekit").output;
  expect(owner === "", `all state is the account's ${owner}`);
}

async function syncByTimer(booted, lab) {
  title("systemctl enable --now migratekit@lab.timer, after the guest wrote");
  const writes = { vm, key: 2000, seed: 7, writes: 20 };
  await fetch(`${lab.controlUrl}/guest/random`, { method: "POST", body: JSON.stringify(writes) });
  const enabled = booted.run("systemctl", "enable", "--now", "migratekit@lab.timer");
  expect(enabled.status === 0, "the timer is enabled");
  const deadlineMs = performance.now() + 60_000;
  while (!/incremental copy.*Complete/s.test(journalOf(booted))) {
    if (performance.now() > deadlineMs)
      throw new Error(`no sync by the timer:\n${journalOf(booted)}`);
    await sleep(500);
  }
  say("✓ the timer has made an incremental sync");
  booted.run("systemctl", "stop", "migratekit@lab.timer");
  while (booted.run("systemctl", "is-active", "migratekit@lab.service").output === "activating") {
    await sleep(200);
  }
  await expectEqual(lab);
}

/** The timer that comes once more after the cutover is the last one. */
async function cutOver(booted) {
  title("migratekit cutover, and then the timer");
  const settings = "--config /etc/migratekit/vms/lab.yaml --yes";
  const password = "MIGRATEKIT_VMWARE_PASSWORD_FILE=/etc/migratekit/credentials/lab";
  booted.run("chmod", "644", "/etc/migratekit/credentials/lab");
  booted.run("chmod", "755", "/etc/migratekit/credentials");
  const done = booted.run("sh", "-c", `${password} migratekit cutover ${settings}`);
  expect(done.status === 0, `the cutover completes ${done.status ? done.output : ""}`);
  booted.run("systemctl", "enable", "--now", "migratekit@lab.timer");
  const deadlineMs = performance.now() + 60_000;
  while (booted.run("systemctl", "is-enabled", "migratekit@lab.timer").output !== "disabled") {
    if (performance.now() > deadlineMs) throw new Error(`the timer stays:\n${journalOf(booted)}`);
    await sleep(500);
  }
  const active = booted.run("systemctl", "is-active", "migratekit@lab.timer").output;
  expect(active === "inactive", `the timer is disabled and stopped (${active})`);
}

/** A file stands for the disk: what the unit may do with devices is in the host's hands, not in a container's. */
async function exportVolume(booted) {
  title("systemctl enable --now migratekit-export");
  const volume = "5f2b8c1e-4a39-4d7e-9a0b-0123456789ab";
  const port = await findFreePort();
  const folder = "/srv/volumes";
  const disk = `${folder}/virtio-${serialOf(volume)}`;
  const settings = `export-volumes: ${volume}\ndevice-dir: ${folder}\nlisten: 127.0.0.1:${port}\n`;
  const dropIn = "/etc/systemd/system/migratekit-export.service.d";
  for (const command of [
    `mkdir -p ${folder} ${dropIn} && truncate -s 4M ${disk} && chgrp disk ${disk} && chmod 660 ${disk}`,
    `printf '${settings}' > /etc/migratekit/export.yaml && chgrp migratekit /etc/migratekit/export.yaml`,
    `printf 'S3cretKey' > /etc/migratekit/credentials/export && chmod 600 /etc/migratekit/credentials/export`,
    `printf '[Service]\nReadWritePaths=${folder}\n' > ${dropIn}/volumes.conf && systemctl daemon-reload`,
  ]) {
    const { status, output } = booted.run("sh", "-c", command);
    expect(status === 0, `${command.split(" ")[0]} ${output}`);
  }
  booted.run("systemctl", "enable", "--now", "migratekit-export");
  const words = () =>
    booted.run("journalctl", "--no-pager", "-o", "cat", "-u", "migratekit-export").output;
  const uri = `nbd://127.0.0.1:${port}/${volume}`;
  const write = () =>
    spawnSync("qemu-io", ["-f", "raw", "-c", "write -P 7 1M 64k", uri]).status === 0;
  const deadlineMs = performance.now() + 60_000;
  while (!write()) {
    if (performance.now() > deadlineMs) throw new Error(`no export at ${uri}:\n${words()}`);
    await sleep(500);
  }
  const digest = `dd if=${disk} bs=64k skip=16 count=1 status=none | tr -d '\\007' | wc -c`;
  expect(booted.run("sh", "-c", digest).output === "0", "what is written there is on the disk");
  const { output } = booted.run("systemctl", "show", "migratekit-export");
  expect(
    !`${output}${words()}`.includes("S3cretKey"),
    "the key is neither in the unit nor in the journal",
  );
  booted.run("systemctl", "disable", "--now", "migratekit-export");
  booted.run("rm", "-r", dropIn);
  const left = booted.run(
    "sh",
    "-c",
    "cat /proc/[0-9]*/comm 2>/dev/null | grep qemu-storage",
  ).output;
  expect(left === "" && !write(), `stopped, no server is left ${left}`);
}

function lookForSecrets(booted, lab) {
  const unit = booted.run("systemctl", "show", "migratekit@lab.service").output;
  const seen = [unit, journalOf(booted)].some((text) => text.includes(lab.password));
  expect(!seen, "the password is neither in the unit nor in the journal");
}

function removeWhileBooted(booted, work) {
  title("apt-get purge");
  booted.run("systemctl", "start", "migratekit@lab.timer");
  const purged = booted.run("apt-get", "purge", "-y", "-q", "migratekit");
  expect(purged.status === 0, `purging ends well ${purged.status ? purged.output : ""}`);
  const units = booted.run("systemctl", "list-units", "--all", "--no-legend", "migratekit*").output;
  expect(units === "", `no unit is left ${units}`);
  const find =
    "find / -xdev -path /proc -prune -o -path \"$0\" -prune -o -name '*migratekit*' -print";
  const left = booted.run("sh", "-c", find, work).output;
  expect(left === "", `no file is left ${left}`);
}

function journalOf(booted) {
  return booted.run("journalctl", "--no-pager", "-o", "cat", "-u", "migratekit@lab.service").output;
}

async function expectEqual(lab) {
  const answer = await fetch(`${lab.controlUrl}/compare?vm=${vm}`);
  const { equal, disks } = await answer.json();
  expect(
    equal === true,
    `target and snapshot are equal by cmp ${equal ? "" : JSON.stringify(disks)}`,
  );
}

await main();
