/** A minimal Debian, made with debootstrap, to try the package in; and what is said while trying. */
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { underRoot } from "../setup/run.mjs";

/** Made once; what is tried works on a copy. */
export function minimalRoot(suite) {
  const place = underRoot(`.lab/roots/${suite}`);
  if (existsSync(place)) return place;
  say(`debootstrap ${suite}`);
  mkdirSync(underRoot(".lab/roots"), { recursive: true });
  const partial = `${place}.${process.pid}`;
  run("debootstrap", ["--variant=minbase", suite, partial]);
  renameSync(partial, place);
  return place;
}

export class Root {
  constructor(path) {
    this.path = path;
    this.mounts = [];
  }

  prepare(minimal) {
    run("cp", ["--archive", minimal, this.path]);
    copyFileSync("/etc/resolv.conf", join(this.path, "etc/resolv.conf"));
    // No service is started in here.
    writeFileSync(join(this.path, "usr/sbin/policy-rc.d"), "#!/bin/sh\nexit 101\n", {
      mode: 0o755,
    });
    this.mount("proc", ["-t", "proc", "proc"]);
    this.sh("apt-get update -q");
  }

  /** The same path inside and outside. */
  share(path) {
    this.mount(path, ["--bind", path]);
  }

  mount(at, source) {
    const place = join(this.path, at);
    const firstMade = mkdirSync(place, { recursive: true });
    run("mount", [...source, place]);
    this.mounts.push({ place, firstMade });
  }

  /** @returns {string} what it printed */
  sh(script, { mayFail = false } = {}) {
    const env = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", DEBIAN_FRONTEND: "noninteractive" };
    const result = spawnSync("chroot", [this.path, "sh", "-ec", script], { encoding: "utf8", env });
    const output = `${result.stdout}${result.stderr}`;
    if (result.status === 0 || mayFail) return output.trim();
    throw new Error(`in the root: ${script}: exit code ${result.status}\n${output}`);
  }

  files() {
    return new Set(this.sh("find / -xdev -not -path '/proc/*'").split("\n"));
  }

  packages() {
    return new Set(this.sh("dpkg --get-selections | cut -f1").split("\n"));
  }

  release() {
    const mounts = this.mounts.reverse();
    this.mounts = [];
    for (const { place } of mounts) run("umount", [place]);
    // Only when all are unmounted: what is below a mount is not ours to remove.
    for (const { firstMade } of mounts) {
      if (firstMade) rmSync(firstMade, { recursive: true, force: true });
    }
  }
}

function run(command, args) {
  const result = spawnSync(command, args, { encoding: "utf8" });
  if (result.status === 0) return;
  const why = result.error?.message ?? `${result.stdout}${result.stderr}`;
  throw new Error(`${command} ${args.join(" ")}: ${why}`);
}

export function expect(right, what) {
  if (!right) throw new Error(`not so: ${what}`);
  say(`✓ ${what.trim()}`);
}

export function title(text) {
  console.log(`\n== ${text}`);
}

export function say(text) {
  console.log(`  ${text}`);
}
