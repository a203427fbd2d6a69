import { type ErrorCode, hasSystemCode, MigratekitError, messageOf } from "../../errors.ts";
import { oneLine } from "../../text.ts";

/** SQLSTATEs, or their first two digits (www.postgresql.org/docs/current/errcodes-appendix.html). */
const codeOfState: Readonly<Record<string, ErrorCode>> = {
  "08": "fleet-database-unreachable",
  "28": "fleet-database-login",
  "3D": "fleet-database-login", // no such database
  "42501": "fleet-database-permission",
  // No such schema, table, function, column.
  "3F": "fleet-database-schema",
  "42P01": "fleet-database-schema",
  "42883": "fleet-database-schema",
  "42703": "fleet-database-schema",
  "53300": "fleet-database-unreachable", // too many connections
  // Shut down, crashed, starting; a statement that was given up after its time.
  "57P01": "fleet-database-unreachable",
  "57P02": "fleet-database-unreachable",
  "57P03": "fleet-database-unreachable",
  "57014": "fleet-database-unreachable",
  "25P03": "fleet-database-unreachable", // stood still within a transaction
};

/** Of pg itself, which has no codes for them. */
const codeOfText: readonly (readonly [RegExp, ErrorCode])[] = [
  [/timeout|terminated|connection error|not queryable|ended/i, "fleet-database-unreachable"],
  [/SSL connections|certificate|altname/i, "fleet-database-certificate"],
  [/password must be a string|SASL|authentication/i, "fleet-database-login"],
];

/** What PostgreSQL, pg or the system threw, in the catalogue's words; foreseen errors pass unchanged. */
export function databaseFailure(what: string, url: string, error: unknown): unknown {
  if (error instanceof MigratekitError || !(error instanceof Error)) return error;
  const code = codeOf(error);
  if (code === undefined) return error; // a mistake of ours must stay visible as one
  const remedy = remedyOf(error);
  return new MigratekitError(code, `${what}: ${url}: ${oneLine(reasonOf(error))}`, {
    cause: error,
    ...(remedy === undefined ? {} : { remedy }),
  });
}

function codeOf(error: Error): ErrorCode | undefined {
  const state = stateOf(error);
  if (state !== undefined) {
    return codeOfState[state] ?? codeOfState[state.slice(0, 2)] ?? "fleet-database-fault";
  }
  if ("syscall" in error || hasSystemCode(error, "ECONNRESET", "EPIPE")) {
    return "fleet-database-unreachable";
  }
  const tls = "code" in error && /CERT|SIGNED|^ERR_(TLS|SSL)|LEAF/.test(String(error.code));
  if (tls) return "fleet-database-certificate";
  if (error instanceof AggregateError && error.errors.length > 0) return codeOf(error.errors[0]);
  return codeOfText.find(([pattern]) => pattern.test(error.message))?.[1];
}

/** The SQLSTATE of what the server itself said. */
export function stateOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error) || !("severity" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

/** One of several addresses of a name speaks for all. */
function reasonOf(error: Error): string {
  return error instanceof AggregateError ? messageOf(error.errors[0]) : messageOf(error);
}

function remedyOf(error: Error): string | undefined {
  const state = stateOf(error);
  if (state?.startsWith("3D"))
    return "Make it as PostgreSQL's superuser: createdb --owner USER NAME.";
  if (state === "53300") return "Raise max_connections of the server; a worker needs up to nine.";
  if (/does not support SSL/.test(error.message)) {
    return "Set ssl = on with a certificate at the server, or say sslmode=disable where the way to it is trusted.";
  }
  if (/password must be a string/.test(error.message)) {
    return "The server asks for a password: give --fleet-database-password-file FILE, or a PGPASSFILE.";
  }
  return undefined;
}
