import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import type { ConnectionOptions } from "node:tls";
import { MigratekitError } from "../../errors.ts";
import { fileProblem } from "../../file-problem.ts";

/** Where a fleet's database is, and how it is spoken to. */
export interface DatabaseAddress {
  /** A name, an IP address, or the folder of a Unix socket. */
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly name: string;
  /** False: not encrypted. */
  readonly tls: ConnectionOptions | false;
  /** The URL again, which holds no secret. */
  readonly url: string;
}

const flag = "--fleet-database";
const form = "postgres://USER@HOST:PORT/NAME?sslmode=verify-full&sslrootcert=FILE";
const defaultPort = 5432;
const noHost = "socket.invalid";
const parameters = ["host", "port", "user", "sslmode", "sslrootcert", "sslcert", "sslkey"];
const modes = ["disable", "require", "verify-ca", "verify-full"] as const;
type SslMode = (typeof modes)[number];

/**
 * Reads a URL as libpq spells it, with two differences: what is not on this machine is spoken to with TLS,
 * verified, unless `sslmode` says otherwise; and a password has no place in it.
 * @throws MigratekitError `usage`, without the URL where it may hold a password
 */
export function parseDatabaseAddress(text: string): DatabaseAddress {
  // Without a host, for a Unix socket, it is no URL to Node.
  const withHost = text.replace(/^(\w+:\/\/[^/@]*@)(?=\/)/, `$1${noHost}`);
  if (!URL.canParse(withHost)) throw refused(`is not of the form ${form}`);
  const url = new URL(withHost);
  if (!/^postgres(ql)?:$/.test(url.protocol)) throw refused(`begins with ${form.split("USER")[0]}`);
  if (url.password !== "" || url.searchParams.has("password")) {
    throw refused(
      "may hold no password",
      "Take it out of the URL and give --fleet-database-password-file FILE, or a PGPASSFILE.",
    );
  }
  for (const name of url.searchParams.keys()) {
    if (!parameters.includes(name)) {
      throw refused(`has the parameter ${name}; known are ${parameters.join(", ")}`);
    }
  }
  const { searchParams } = url;
  const named = url.hostname === noHost ? "" : decodeURIComponent(url.hostname);
  const host = searchParams.get("host") ?? named.replace(/^\[|\]$/g, "");
  const user = searchParams.get("user") ?? decodeURIComponent(url.username);
  const name = decodeURIComponent(url.pathname.slice(1));
  if (host === "") throw refused(`names no host: ${form}`);
  if (user === "") throw refused(`names no user: ${form}`);
  if (name === "") throw refused(`names no database: ${form}`);
  const port = Number(searchParams.get("port") ?? (url.port || defaultPort));
  if (!Number.isInteger(port) || port < 1 || port > 65_535)
    throw refused("has a port out of range");
  return { host, port, user, name, tls: tlsOf(host, searchParams), url: text };
}

function tlsOf(host: string, parameters: URLSearchParams): ConnectionOptions | false {
  const mode = modeOf(host, parameters);
  if (mode === "disable") return false;
  const roots = parameters.get("sslrootcert");
  const own = {
    ...fileOf("sslcert", "cert", parameters),
    ...fileOf("sslkey", "key", parameters),
  };
  // `require` encrypts and believes whoever answers, as libpq does where it is given no authority.
  if (mode === "require" && roots === null) return { ...own, rejectUnauthorized: false };
  const ca = roots === null || roots === "system" ? undefined : authorities(roots);
  return {
    ...own,
    ...(ca === undefined ? {} : { ca }),
    rejectUnauthorized: true,
    ...(mode === "verify-full" ? {} : { checkServerIdentity: () => undefined }),
  };
}

function modeOf(host: string, parameters: URLSearchParams): SslMode {
  const given = parameters.get("sslmode");
  if (given === null) return isHere(host) ? "disable" : "verify-full";
  const mode = modes.find((mode) => mode === given);
  if (mode !== undefined) return mode;
  throw refused(
    `has sslmode=${given}; known are ${modes.join(", ")}`,
    "Whether it is encrypted must not be left to the server: say sslmode=verify-full.",
  );
}

function isHere(host: string): boolean {
  return host.startsWith("/") || host === "localhost" || host === "::1" || /^127\./.test(host);
}

function fileOf<K extends "cert" | "key">(
  parameter: string,
  key: K,
  parameters: URLSearchParams,
): { [P in K]?: Buffer } {
  const path = parameters.get(parameter);
  return (path === null ? {} : { [key]: readBytes(parameter, path) }) as { [P in K]?: Buffer };
}

/** Node takes a file without a certificate for 'no authority at all' and says nothing. */
function authorities(path: string): Buffer {
  const bytes = readBytes("sslrootcert", path);
  try {
    new X509Certificate(bytes);
  } catch (error) {
    throw refused(`sslrootcert=${path}: holds no certificate (PEM)`, undefined, error);
  }
  return bytes;
}

function readBytes(parameter: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw refused(`${parameter}=${path}: cannot be read: ${fileProblem(error)}`, undefined, error);
  }
}

function refused(reason: string, remedy?: string, cause?: unknown): MigratekitError {
  return new MigratekitError("usage", `${flag} ${reason}`, {
    cause,
    ...(remedy === undefined ? {} : { remedy }),
  });
}
