/** What the project needs from the distribution. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { run, SetupError, tryRun } from "./run.mjs";

const supported = { debian: ["12", "13"] };

/**
 * One package a line: its name in Debian, how to see that it is there (a command, or a file), what
 * it is for, and the groups that need it. g++ brings the runtimes of the sanitizers with it.
 */
const packages = [
  ["g++", "g++", "the addon is C++; the lab's VDDK library is C", ["base"]],
  ["make", "make", "node-gyp builds with it", ["base"]],
  ["python3", "python3", "node-gyp is written in it", ["base"]],
  ["pkg-config", "pkg-config", "finds libnbd's flags", ["base"]],
  ["libnbd-dev", "/usr/include/libnbd.h", "the NBD client library", ["base"]],
  ["nbdkit", "nbdkit", "serves the source disk, here as on the appliance", ["lab"]],
  ["nbd-server", "nbd-server", "the target that CloudStack's side runs", ["lab"]],
  ["qemu-utils", "qemu-nbd", "the second kind of target, and qemu-img compare", ["lab"]],
  ["stunnel4", "stunnel4", "the tunnel between appliance and target", ["lab"]],
  ["e2fsprogs", "mke2fs", "makes the demo's file systems", ["lab"]],
  ["openssl", "openssl", "makes the lab's certificates", ["lab"]],
  ["postgresql", "pg_ctlcluster", "the fleet's database", ["lab"]],
  ["libnbd-bin", "nbdcopy", "an independent NBD client to compare with", ["test", "bench"]],
  ["golang-go", "go", "builds vcsim and the govmomi client", ["test"]],
  [
    "golang-github-vmware-govmomi-dev",
    "/usr/share/gocode/src/github.com/vmware/govmomi/vim25",
    "VMware's own simulator and client, to test against",
    ["test"],
  ],
  ["cs", "cloudstack", "a client of CloudStack's API that nobody here wrote", ["test"]],
  ["python3-libcloud", "/usr/lib/python3/dist-packages/libcloud", "another one", ["test"]],
  [
    "golang-github-xanzy-go-cloudstack-dev",
    "/usr/share/gocode/src/github.com/xanzy/go-cloudstack",
    "a third, with strict types",
    ["test"],
  ],
  ["xfsprogs", "mkfs.xfs", "makes volumes to look into", ["test"]],
  ["btrfs-progs", "mkfs.btrfs", "makes volumes to look into", ["test"]],
  ["ntfs-3g", "mkntfs", "makes volumes to look into", ["test"]],
  ["cryptsetup-bin", "cryptsetup", "makes encrypted volumes", ["test", "guests"]],
  ["fdisk", "sfdisk", "partitions the volumes to look into", ["test"]],
  ["iproute2", "ip", "sets up networks of one machine", ["test"]],
  ["groff-base", "groff", "checks the manual page", ["test"]],
  ["qemu-system-x86", "qemu-system-x86_64", "starts guests", ["test", "guests"]],
  ["ovmf", "/usr/share/OVMF/OVMF_CODE_4M.fd", "UEFI for guests", ["test", "guests"]],
  ["mmdebstrap", "mmdebstrap", "installs the test guests", ["test", "guests"]],
  ["grub-pc-bin", "/usr/lib/grub/i386-pc", "their boot loader, with BIOS", ["test", "guests"]],
  ["grub-efi-amd64-bin", "/usr/lib/grub/x86_64-efi", "the same with UEFI", ["test", "guests"]],
  ["grub-common", "grub-mkimage", "puts the boot loader together", ["test", "guests"]],
  ["mtools", "mformat", "makes a guest's EFI partition", ["test", "guests"]],
  ["rpm", "rpmbuild", "makes the RPM, and installs it in a test", ["test", "package"]],
  ["systemd", "systemd-analyze", "judges the units", ["test"]],
  ["rpmlint", "rpmlint", "looks over the RPM", ["test"]],
  ["debootstrap", "debootstrap", "minimal roots to install the packages in", ["package"]],
  ["systemd-container", "systemd-nspawn", "boots such a root with systemd", ["package"]],
  ["virt-v2v", "virt-v2v-in-place", "converts guests", ["test", "guests"]],
  ["libguestfs-tools", "guestfish", "looks into guests and mends them", ["test", "guests"]],
  ["linux-image-cloud-amd64", "/vmlinuz", "what libguestfs's appliance runs", ["test", "guests"]],
  ["libwin-hivex-perl", "hivexregedit", "makes phony Windows guests", ["test", "guests"]],
  ["cpio", "cpio", "makes initial RAM disks to read", ["test"]],
  ["lz4", "lz4", "packs them", ["test"]],
  ["zstd", "zstd", "packs them", ["test"]],
  ["xz-utils", "xz", "packs them", ["test"]],
  ["bzip2", "bzip2", "packs them", ["test"]],
  [
    "libfaketime",
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "sets a worker's clock in a test",
    ["test"],
  ],
  ["chromium", "/usr/bin/chromium", "opens a cutover's report in a test", ["test"]],
  ["tmux", "tmux", "a real terminal for the tests of progress bars", ["test"]],
].map(([name, probe, purpose, groups]) => ({ name, probe, purpose, groups }));

/** Packages that start a service of their own, which nobody here has asked for. */
const services = { "nbd-server": "nbd-server", postgresql: "postgresql" };

export function systemPackagesStep(groups) {
  const missing = () =>
    packages.filter((entry) => entry.groups.some((group) => groups.has(group)) && !isThere(entry));
  return {
    title: () => `system packages ${namesOf(missing()).join(" ")}`,
    isDone: () => missing().length === 0,
    run: () => {
      const wanted = missing();
      checkDistribution(wanted);
      install(namesOf(wanted));
      const still = missing();
      if (still.length > 0) throw new SetupError(`still missing:\n${listOf(still)}`);
    },
  };
}

function isThere({ probe }) {
  if (probe.startsWith("/")) return existsSync(probe);
  // Ordinary users may have no sbin in PATH; mke2fs lives there.
  const directories = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  return directories.some((directory) => existsSync(join(directory, probe)));
}

function checkDistribution(missing) {
  const release = osRelease();
  if (supported[release.ID]?.includes(release.VERSION_ID)) return;
  throw new SetupError(
    `packages are installed on Debian 12 and 13 only; this is ${release.PRETTY_NAME ?? "unknown"}.\n` +
      `Missing (by Debian's names):\n${listOf(missing)}\nInstall these, then run it again.`,
  );
}

function osRelease() {
  if (!existsSync("/etc/os-release")) return {};
  const lines = readFileSync("/etc/os-release", "utf8").split("\n");
  return Object.fromEntries(lines.map((line) => line.replaceAll('"', "").split("=", 2)));
}

function install(names) {
  const asRoot = prefixForRoot();
  const options = ["-o", "DPkg::Lock::Timeout=300"];
  const command = ["install", "--yes", "--no-install-recommends", ...names];
  if (!asRoot) {
    throw new SetupError(
      `system packages are missing and neither root nor passwordless sudo is at hand. Run:\n` +
        `  sudo apt-get update && sudo apt-get ${command.join(" ")}`,
    );
  }
  const apt = [...asRoot, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", ...options];
  // The lists may be missing or too old; some other source being unreachable is not our trouble.
  if (!tryRun(apt[0], [...apt.slice(1), ...command]).ok) {
    tryRun(apt[0], [...apt.slice(1), "update"]);
    run(apt[0], [...apt.slice(1), ...command]);
  }
  for (const name of names) stopService(asRoot, services[name]);
}

/** The command words that make a command run as root; undefined when that is not possible. */
function prefixForRoot() {
  if (process.getuid() === 0) return ["env"];
  return spawnSync("sudo", ["-n", "true"]).status === 0 ? ["sudo", "-n"] : undefined;
}

function stopService(asRoot, service) {
  if (!service) return;
  const stop = existsSync("/run/systemd/system")
    ? ["systemctl", "disable", "--now", service]
    : ["service", service, "stop"];
  tryRun(asRoot[0], [...asRoot.slice(1), ...stop]);
}

function namesOf(entries) {
  return entries.map((entry) => entry.name);
}

function listOf(entries) {
  return entries.map((entry) => `  ${entry.name}: ${entry.purpose}`).join("\n");
}
