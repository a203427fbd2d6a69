/** A root in which systemd runs as process 1, in a container of its own on this machine's network. */
import { spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const bootTimeoutMs = 120_000;
const stopTimeoutMs = 60_000;

export class BootedRoot {
  #nspawn;
  #output = "";
  #leader;

  /** @param {string[]} shared folders that are seen inside, read-only, under the same path */
  static async boot(path, shared) {
    const root = new BootedRoot();
    root.#nspawn = spawn(
      "systemd-nspawn",
      [
        ...["--quiet", "--register=no", "--keep-unit", "--console=pipe", "--directory", path],
        ...shared.map((folder) => `--bind-ro=${folder}`),
        "--boot",
      ],
      { stdio: ["ignore", "pipe", "pipe"] },
    );
    for (const stream of [root.#nspawn.stdout, root.#nspawn.stderr]) {
      stream.on("data", (chunk) => {
        root.#output += chunk;
      });
    }
    root.#nspawn.on("error", (error) => {
      root.#output += `${error.message} (package systemd-container)`;
    });
    await root.#waitForSystemd();
    return root;
  }

  /** @returns {{ status: number | null, output: string }} */
  run(command, ...args) {
    const namespaces = ["--target", String(this.#leader), "--mount", "--uts", "--ipc", "--pid"];
    const result = spawnSync("nsenter", [...namespaces, "--root", "--", command, ...args], {
      encoding: "utf8",
      env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", SYSTEMD_PAGER: "" },
    });
    return { status: result.status, output: `${result.stdout}${result.stderr}`.trim() };
  }

  async #waitForSystemd() {
    const deadlineMs = performance.now() + bootTimeoutMs;
    while (performance.now() < deadlineMs && this.#nspawn.exitCode === null) {
      this.#leader = firstChildOf(this.#nspawn.pid);
      const state = this.#leader && this.run("systemctl", "is-system-running").output;
      if (state === "running" || state === "degraded") return;
      await sleep(200);
    }
    this.#nspawn.kill("SIGKILL");
    throw new Error(`systemd did not boot in the root: ${this.#output.trim()}`);
  }

  async stop() {
    if (this.#nspawn.exitCode !== null) return;
    const ended = new Promise((resolve) => this.#nspawn.once("exit", resolve));
    this.#nspawn.kill("SIGTERM"); // an orderly shutdown
    await Promise.race([ended, sleep(stopTimeoutMs, undefined, { ref: false })]);
    this.#nspawn.kill("SIGKILL");
  }
}

function firstChildOf(pid) {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ")[0];
  } catch {
    return undefined;
  }
}
