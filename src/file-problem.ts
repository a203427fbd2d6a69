import { accountNow } from "./become-owner.ts";
import { hasSystemCode, messageOf } from "./errors.ts";

const problems: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EEXIST: "there is such a file already",
  ENOTDIR: "a part of its path is no directory",
  EISDIR: "it is a directory",
  ENAMETOOLONG: "its name is too long",
  ELOOP: "its path has too many links",
};

/** Why a file that the operator named cannot be used: in words, not as the system's call failed. */
export function fileProblem(error: unknown): string {
  if (hasSystemCode(error, "EACCES", "EPERM")) {
    const account = accountNow();
    if (account === undefined) return "permission denied";
    return `permission denied to ${account}, the account that root goes on as here`;
  }
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return problems[code] ?? messageOf(error);
}
