import { lstatSync } from "node:fs";
import { userInfo } from "node:os";

let account: string | undefined;

/** The account that this process became; undefined while it is the one that it was started as. */
export function accountNow(): string | undefined {
  return account;
}

/**
 * Where root runs migratekit and the directory belongs to an account of its own, as the package
 * arranges it for /var/lib/migratekit, this process becomes that account for good. Root and the
 * units then share one state, one lock for each VM and the files' owner, and nothing runs with more
 * rights than it needs. Only for a directory that none but root could have given away.
 *
 * @returns the account's name, or undefined when nothing was changed
 */
export function becomeOwnerOf(directory: string): string | undefined {
  if (process.geteuid?.() !== 0) return undefined;
  const found = lstatSync(directory, { throwIfNoEntry: false });
  if (!found?.isDirectory() || found.uid === 0) return undefined;
  process.setgroups?.([found.gid]);
  process.setgid?.(found.gid);
  process.setuid?.(found.uid);
  account = settleIn(found.uid);
  return account;
}

/** Libraries look for the home directory here; root's is closed to us now. */
function settleIn(uid: number): string {
  try {
    const { homedir, username } = userInfo();
    // biome-ignore lint/style/noProcessEnv: told to libraries, not a setting of ours
    process.env.HOME = homedir;
    return username;
  } catch {
    return `uid ${uid}`; // an account that the system has no name for
  }
}
