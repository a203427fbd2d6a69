/** Whom the connection to the API trusts. */

import { readFileSync } from "node:fs";
import { Agent } from "node:https";
import { createSecureContext, getCACertificates } from "node:tls";
import { MigratekitError } from "../../errors.ts";
import { fileProblem } from "../../file-problem.ts";

export interface Trust {
  /** PEM; the certificate must chain to it and carry the endpoint's name. */
  readonly caFile?: string | undefined;
  readonly insecure?: boolean | undefined;
}

/** A connection a request, as `http.ts` has it. @throws MigratekitError `usage` */
export function trustingAgent({ caFile, insecure = false }: Trust): Agent {
  return new Agent({
    keepAlive: false,
    ca: caFile === undefined ? getCACertificates("system") : readAuthorities(caFile),
    rejectUnauthorized: !insecure,
  });
}

function readAuthorities(caFile: string): string {
  try {
    const text = readFileSync(caFile, "utf8");
    if (!text.includes("-----BEGIN CERTIFICATE-----"))
      throw new Error("it holds no PEM certificate");
    createSecureContext({ ca: text });
    return text;
  } catch (cause) {
    const reason = fileProblem(cause);
    throw new MigratekitError("usage", `cannot use the CA file ${caFile}: ${reason}`, {
      cause,
      remedy: "Give a readable PEM file with --cloudstack-ca-file.",
    });
  }
}
