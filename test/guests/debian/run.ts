import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";

/** What is in sbin is not on an ordinary user's path; libguestfs without KVM hangs where a dead one is tried. */
const env = {
  ...process.env,
  PATH: `${process.env.PATH}:/usr/sbin:/sbin`,
  LC_ALL: "C.UTF-8",
  LIBGUESTFS_BACKEND: "direct",
  LIBGUESTFS_BACKEND_SETTINGS: "force_tcg",
  // What it keeps for the next time belongs to no test.
  LIBGUESTFS_CACHEDIR: "/var/tmp",
};

/** Runs a program to its end and gives its output. @throws with what it said, where it fails */
export async function run(program: string, args: readonly string[], input = ""): Promise<string> {
  const child = spawn(program, args, { env, stdio: ["pipe", "pipe", "pipe"] });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once("error", reject).once("close", resolve);
  });
  child.stdin.on("error", () => {}).end(input);
  const [out, errors, code] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  if (code === 0) return out;
  throw new Error(`${program} ended with ${code}: ${errors.slice(-4000) || out.slice(-4000)}`);
}
