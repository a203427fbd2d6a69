/**
 * An NBD server whose exports come and go while it runs: QEMU's storage daemon, told over QMP. It lives as long as
 * this process, however that ends.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { rm, stat } from "node:fs/promises";
import type { Logger } from "pino";
import { MigratekitError, messageOf } from "../../errors.ts";
import { Qmp, type QmpEvent } from "../../qmp.ts";
import { describeExit, drained, exited, hasExited, stopProcess } from "../../stop-process.ts";
import { hostAndPort, oneLine } from "../../text.ts";

export interface ServerOptions {
  readonly host: string;
  readonly port: number;
  /** With ca-cert.pem, server-cert.pem and server-key.pem: TLS, for clients that this CA knows. */
  readonly tlsDir?: string | undefined;
  /** Of QMP; its folder is this process's alone. */
  readonly socketPath: string;
  /** The whole environment of the program. */
  readonly env: Readonly<Record<string, string>>;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

const program = "qemu-storage-daemon";
/** From util-linux: nothing in Node can have a child die with it. */
const launcher = "setpriv";

export class NbdServer implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #qmp: Qmp;
  readonly #said: () => string;
  readonly #ends: ExportEnds;
  readonly #exports = new Set<string>();

  private constructor(child: ChildProcess, qmp: Qmp, ends: ExportEnds, said: () => string) {
    this.#child = child;
    this.#qmp = qmp;
    this.#ends = ends;
    this.#said = said;
  }

  /** Listens, without an export. @throws MigratekitError `export-failed`, `export-tool-missing`; the signal's reason */
  static async start(options: ServerOptions): Promise<NbdServer> {
    const { host, port, tlsDir, socketPath, env, logger, signal } = options;
    await rm(socketPath, { force: true }); // of a server that ended with its process
    const monitor = [
      ...["--chardev", `socket,id=qmp,path=${socketPath.replaceAll(",", ",,")},server=on,wait=off`],
      ...["--monitor", "chardev=qmp"],
    ];
    const child = spawn(launcher, ["--pdeathsig", "KILL", "--", program, ...monitor], {
      ...{ cwd: "/", detached: true, env, stdio: ["ignore", "ignore", "pipe"] },
    });
    let text = "";
    child.stderr!.setEncoding("utf8").on("data", (chunk: string) => {
      text = `${text}${chunk}`.slice(-2_000);
      logger.debug(`${program}: ${oneLine(chunk)}`);
    });
    const ends: ExportEnds = new Map();
    const qmp = await connect(child, (event) => hear(ends, event), socketPath, signal);
    if (qmp === undefined) {
      await drained(child);
      throw cannotStart(child, text);
    }
    const server = new NbdServer(child, qmp, ends, () => text);
    try {
      if (tlsDir !== undefined) await server.#useTls(tlsDir);
      const addr = { type: "inet", data: { host, port: String(port) } };
      const security = tlsDir === undefined ? {} : { "tls-creds": "tls" };
      // 0: any number of connections, as a copy of many disks makes them.
      await server.#tell(
        "nbd-server-start",
        { addr, ...security, "max-connections": 0 },
        () => `cannot listen at ${hostAndPort(host, port)}`,
      );
      return server;
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Resolves when the server is gone, with how it ended. */
  async ended(): Promise<string> {
    await exited(this.#child);
    await drained(this.#child);
    return `${describeExit(this.#child)}${this.#said() && `: ${oneLine(this.#said())}`}`;
  }

  get exports(): ReadonlySet<string> {
    return this.#exports;
  }

  /** Serves a block device, or a file, writable under this name. @throws MigratekitError `export-failed` */
  async add(name: string, path: string): Promise<void> {
    const node = nodeOf(name);
    const isDevice = (await stat(path)).isBlockDevice();
    const failed = () => `cannot export ${name} (${path})`;
    await this.#tell(
      "blockdev-add",
      {
        ...{ driver: isDevice ? "host_device" : "file", "node-name": node, filename: path },
        ...{ discard: "unmap", cache: { direct: isDevice } },
      },
      failed,
    );
    try {
      const kind = { type: "nbd", id: node, "node-name": node, name, writable: true };
      await this.#tell("block-export-add", kind, failed);
      this.#exports.add(name);
    } catch (error) {
      await this.#tell("blockdev-del", { "node-name": node }, failed).catch(() => {});
      throw error;
    }
  }

  /** Cuts off who is connected to it, and gives the device back. @throws MigratekitError `export-failed` */
  async remove(name: string): Promise<void> {
    const node = nodeOf(name);
    const failed = () => `cannot drop the export ${name}`;
    const gone = new Promise<void>((resolve) => this.#ends.set(node, resolve));
    await this.#tell("block-export-del", { id: node, mode: "hard" }, failed);
    // Requests under way end first: of a device that is gone, with errors.
    await Promise.race([gone, exited(this.#child)]);
    await this.#tell("blockdev-del", { "node-name": node }, failed);
    this.#exports.delete(name);
  }

  /** All exports end with it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#qmp[Symbol.dispose]();
    await stopProcess(this.#child);
  }

  async #useTls(dir: string): Promise<void> {
    await this.#tell(
      "object-add",
      { "qom-type": "tls-creds-x509", id: "tls", dir, endpoint: "server", "verify-peer": true },
      () => `--listen-tls-certificates ${dir} cannot be used`,
    );
  }

  async #tell(command: string, args: Record<string, unknown>, failed: () => string): Promise<void> {
    try {
      await this.#qmp.execute(command, args);
    } catch (error) {
      const why = hasExited(this.#child) ? await this.ended() : messageOf(error);
      throw new MigratekitError("export-failed", `${failed()}: ${oneLine(why)}`, { cause: error });
    }
  }
}

/** Told when QEMU has let go of an export, by its id. */
type ExportEnds = Map<string, () => void>;

function hear(ends: ExportEnds, { event, data }: QmpEvent): void {
  if (event !== "BLOCK_EXPORT_DELETED" || typeof data?.id !== "string") return;
  ends.get(data.id)?.();
  ends.delete(data.id);
}

/** What QEMU takes as the name of a node: 31 characters of few kinds. */
function nodeOf(name: string): string {
  return `e${createHash("sha256").update(name).digest("hex").slice(0, 30)}`;
}

/** Undefined where the program has ended instead. @throws the signal's reason */
async function connect(
  child: ChildProcess,
  onEvent: (event: QmpEvent) => void,
  socketPath: string,
  signal: AbortSignal,
): Promise<Qmp | undefined> {
  const ended = new AbortController();
  child.once("error", () => ended.abort()).once("exit", () => ended.abort());
  try {
    return await Qmp.connect(socketPath, onEvent, AbortSignal.any([signal, ended.signal]));
  } catch (error) {
    await stopProcess(child);
    signal.throwIfAborted();
    if (!ended.signal.aborted) throw new MigratekitError("export-failed", messageOf(error));
    return undefined;
  }
}

function cannotStart(child: ChildProcess, said: string): MigratekitError {
  const absent = child.pid === undefined ? launcher : /No such file/.test(said) && program;
  if (absent) {
    return new MigratekitError("export-tool-missing", `${absent} is not installed here`, {
      remedy: `Install it: ${packages[absent]}.`,
    });
  }
  const why = `${describeExit(child)}${said && `: ${oneLine(said)}`}`;
  return new MigratekitError("export-failed", `${program} did not start: ${why}`);
}

const packages = {
  [program]: "apt-get install qemu-system-common; on Enterprise Linux dnf install qemu-kvm",
  [launcher]: "apt-get install util-linux; on Enterprise Linux dnf install util-linux",
};
