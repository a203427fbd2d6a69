import { hostname, userInfo } from "node:os";
import { buildInfo } from "../../build-info.ts";
import { calledBy } from "../../config.ts";

/** Who runs this, where, with what: `migratekit (called by anna)`. */
export function whoRuns(): { user: string; host: string; version: string } {
  const user = nameOfUser();
  const caller = calledBy();
  return {
    user: caller === undefined || caller === user ? user : `${user} (called by ${caller})`,
    host: hostname(),
    version: buildInfo.version,
  };
}

/** An account without a name, as in a container, has a number. */
function nameOfUser(): string {
  try {
    return userInfo().username;
  } catch {
    return `uid ${process.getuid?.()}`;
  }
}
