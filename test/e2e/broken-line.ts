// Run in a network namespace of its own: a line to another one breaks while a migration writes through a
// pair of stunnels, the migration is killed, and the next one begins when the line is up again. Prints what
// became of the target, as JSON. Arguments: seconds without the line, flags of the second run.

import { execFileSync } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { compareFiles } from "../lab/compare.ts";
import { type ProcessGroup, startDaemon, startForeground } from "../lab/process.ts";
import { startCli } from "../lab/run-cli.ts";
import { startLab } from "../lab/start-lab.ts";
import { createVolume } from "../lab/targets.ts";
import { until } from "../until.ts";

const [cutSeconds, ...secondFlags] = process.argv.slice(2);
const mib = 1024 * 1024;
const [here, there] = ["192.0.2.1", "192.0.2.2"];
const [key, capacityBytes, writtenBytes] = [2000, 64 * mib, 48 * mib];

const sh = (script: string) => execFileSync("/bin/sh", ["-ec", script], { encoding: "utf8" });

sh("ip link set lo up");
await using lab = await startLab({
  targets: "direct",
  vms: [{ name: "far", disks: [{ key, capacityBytes }] }],
});
const vm = lab.vm("far");
const folder = join(lab.dir, "far");
await mkdir(folder);
const target = join(folder, "disk.raw");
await createVolume(target, capacityBytes);

await using ended = new AsyncDisposableStack();
const keep = (group: ProcessGroup) => ended.adopt(group, (kept) => kept.kill());
const far = keep(await startForeground("unshare", ["--net", "sleep", "1000"]));
const inFar = ["nsenter", "-t", String(far.pid), "--net"];
await until("the far side is there", () => namespaceOf(far.pid) !== namespaceOf("self"));
sh(`
  ip link add near type veth peer name far netns ${far.pid}
  ip address add ${here}/24 dev near; ip link set near up
  ${inFar.join(" ")} sh -ec 'ip link set lo up; ip address add ${there}/24 dev far; ip link set far up'
  ip neighbour replace ${there} lladdr $(${inFar.join(" ")} ip -o link show far | sed 's/.*ether \\([^ ]*\\).*/\\1/') dev near nud permanent`);

function namespaceOf(pid: number | string): string {
  return sh(`readlink /proc/${pid}/ns/net`);
}

/** Packets are lost without a word, both ways. */
const cut = () => sh(`${inFar.join(" ")} ip route add blackhole ${here}/32`);
const mend = () => sh(`${inFar.join(" ")} ip route del blackhole ${here}/32`);
const underWay = () => sh(`ss -tanH '( dport = 10810 )' | awk '$3 > 0'`).trim();

await startServers();
const uri = "nbd://127.0.0.1:10808/a";
const migrate = (...extra: string[]) =>
  startCli({
    args: lab.migrateArgs(vm, {
      extra: ["--nbd-targets", `${key}:${uri}`, "--target-connections", "4", ...extra],
    }),
  });

await vm.write(key, 0, Buffer.alloc(writtenBytes, 1));
const first = migrate("--max-rate", "8M");
await until("it copies", () => Number(sh(`stat -c %b ${target}`)) * 512 >= 8 * mib);
cut();
const cutAtMs = performance.now();
// What it can still send fills the tunnel.
await sleep(2000);
first.child.kill("SIGKILL");
await first.result;
const held = underWay();
await vm.write(key, 0, Buffer.alloc(writtenBytes, 2));
await sleep(Number(cutSeconds) * 1000 - (performance.now() - cutAtMs));
mend();
const second = await migrate(...secondFlags).result;
const image = lab.frozenDisk(vm, key).imagePath;
const { equal: equalAtEnd } = await compareFiles(image, target, capacityBytes);
await until("nothing is under way any more", () => underWay() === "");
const { equal: equalLater } = await compareFiles(image, target, capacityBytes);
const { code, stderr } = second;
console.log(JSON.stringify({ held: held !== "", code, equalAtEnd, equalLater, stderr }));

async function startServers(): Promise<void> {
  const path = (name: string) => join(folder, name);
  sh(`openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=far -days 2 \
    -keyout ${path("key.pem")} -out ${path("cert.pem")} 2>&1`);
  const common = "foreground = yes\npid =\nsyslog = no\n[nbd]\n";
  await writeFile(
    path("far.conf"),
    `${common}accept = ${there}:10810\nconnect = ${there}:10809\ncert = ${path("cert.pem")}\nkey = ${path("key.pem")}\n`,
  );
  await writeFile(
    path("near.conf"),
    `${common}client = yes\naccept = 127.0.0.1:10808\nconnect = ${there}:10810\nCAfile = ${path("cert.pem")}\nverifyPeer = yes\n`,
  );
  await writeFile(
    path("nbd.conf"),
    `[generic]\nport = 10809\nlistenaddr = ${there}\nallowlist = false\n[a]\nexportname = ${target}\nflush = true\nfua = true\ntrim = true\n`,
  );
  const [nsenter, ...into] = inFar;
  const server = ["nbd-server", "-C", path("nbd.conf"), "-p", path("nbd.pid")];
  keep(await startDaemon(nsenter!, [...into, ...server], path("nbd.pid")));
  keep(await startForeground(nsenter!, [...into, "stunnel", path("far.conf")]));
  keep(await startForeground("stunnel", [path("near.conf")]));
  await until("the tunnel is up", () => sh("ss -tlnH 'sport = 10808'").trim() !== "");
}
