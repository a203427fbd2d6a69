/**
 * NBD URIs (github.com/NetworkBlockDevice/nbd, doc/uri.md) as libnbd reads them, taken apart, put
 * together and compared. Everything given by the operator goes through `parseNbdUri`, everything
 * that leaves here is normal: escaped the same way, with its port, without a password.
 */
import { isIPv6 } from "node:net";
import { MigratekitError } from "../../errors.ts";

export type NbdScheme = "nbd" | "nbds" | "nbd+unix" | "nbds+unix";

export interface NbdTarget {
  readonly scheme: NbdScheme;
  /** With TLS and pre-shared keys: whose key. */
  readonly username?: string;
  /** Without brackets; absent for Unix sockets. */
  readonly host?: string;
  readonly port?: number;
  /** Absolute; only for Unix sockets. */
  readonly socketPath?: string;
  /** Unescaped; empty is the server's default export. */
  readonly exportName: string;
  /** libnbd's own: see `parameterNames`. */
  readonly parameters: ReadonlyMap<string, string>;
}

/** IANA's port of NBD. */
export const defaultPort = 10_809;
/** The protocol's limit for strings. */
const exportNameBytesMax = 4_096;
/** What libnbd 1.14 knows besides "socket"; it ignores others, which must not pass for settings. */
const parameterNames = ["tls-certificates", "tls-psk-file"];

/** nbd://host:port/export, the name escaped and an IPv6 address in brackets. */
export function nbdUri(host: string, port: number, exportName: string): string {
  return formatNbdUri({
    scheme: "nbd",
    host: host.replace(/^\[(.*)\]$/, "$1"),
    port,
    exportName,
    parameters: new Map(),
  });
}

/** @throws MigratekitError `usage` whose message is the reason alone and shows no password. */
export function parseNbdUri(text: string): NbdTarget {
  const match = /^([^:/?#]*):\/\/([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?(#.*)?$/s.exec(text);
  if (!match) throw invalid("it is no URI", "nbd://host:port/export");
  const [, scheme = "", authority = "", path = "", query = "", fragment] = match;
  if (!isScheme(scheme)) {
    throw invalid(
      `"${scheme}" is none of nbd, nbds, nbd+unix, nbds+unix`,
      "nbd://host:port/export",
    );
  }
  if (fragment !== undefined) throw invalid('it holds a "#"', "an export name with %23 for #");
  const exportName = unescapeText(path, "the export name");
  checkExportName(exportName);
  const given = parseQuery(query);
  const { username, hostPort } = splitUser(authority);
  const socketPath = given.get("socket");
  const parameters = new Map([...given].filter(([name]) => name !== "socket"));
  const unknown = [...parameters.keys()].find((name) => !parameterNames.includes(name));
  if (unknown !== undefined) {
    throw invalid(`"${unknown}" is no parameter of NBD URIs`, "%3F for a ? in an export name");
  }
  const common = {
    scheme,
    exportName,
    parameters,
    ...(username === undefined ? {} : { username }),
  };
  if (scheme.endsWith("+unix")) {
    if (hostPort !== "") throw invalid(`"${hostPort}" stands where no host belongs`, unixForm);
    if (!socketPath?.startsWith("/")) throw invalid("it names no socket", unixForm);
    return { ...common, socketPath };
  }
  if (socketPath !== undefined) throw invalid("only nbd+unix has a socket", unixForm);
  return { ...common, ...parseHostPort(hostPort) };
}

/**
 * The URI in its normal form, with the port and with names percent-encoded.
 * @throws MigratekitError `usage` for an export name or host that no URI carries
 */
export function formatNbdUri(target: NbdTarget): string {
  const { scheme, username, host, port = defaultPort, socketPath, exportName } = target;
  checkExportName(exportName);
  const user = username === undefined ? "" : `${encodeURIComponent(username)}@`;
  const hostPort = host?.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
  if (host !== undefined) parseHostPort(hostPort);
  const authority = host === undefined ? "" : `${user}${hostPort}`;
  const query = [
    ...(socketPath === undefined ? [] : [["socket", socketPath] as const]),
    ...target.parameters,
  ].map(([name, value]) => `${name}=${escapePath(value)}`);
  const suffix = query.length === 0 ? "" : `?${query.join("&")}`;
  return `${scheme}://${authority}/${escapeExportName(exportName)}${suffix}`;
}

/**
 * One text for one export, whatever the spelling: the same for nbd and nbds, with or without port,
 * user or TLS parameters, and for the loopback's names. For state, and to find two disks on one
 * target; not a URI.
 */
export function targetIdentity(uri: string): string {
  return exportIdentity(parseNbdUri(uri));
}

/** The same, of a URI taken apart. */
export function exportIdentity({
  host,
  port,
  socketPath,
  exportName,
}: Pick<NbdTarget, "host" | "port" | "socketPath" | "exportName">): string {
  const name = escapeExportName(exportName);
  if (socketPath !== undefined)
    return `unix:${escapePath(socketPath.replace(/\/+/g, "/"))}#${name}`;
  return `${canonicalHost(host ?? "")}:${port}#${name}`;
}

/** The URI of the export that `targetIdentity` named; with `tls`, one that demands TLS. */
export function uriOfIdentity(identity: string, tls: boolean): string {
  const scheme = tls ? "nbds" : "nbd";
  const [place = "", name = ""] = splitAt(identity, identity.indexOf("#"));
  if (place.startsWith("unix:")) return `${scheme}+unix:///${name}?socket=${place.slice(5)}`;
  const [host = "", port = ""] = splitAt(place, place.lastIndexOf(":"));
  return `${scheme}://${host.includes(":") ? `[${host}]` : host}:${port}/${name}`;
}

function splitAt(text: string, at: number): string[] {
  return [text.slice(0, at), text.slice(at + 1)];
}

/** Without user and TLS parameters: for messages and logs. */
export function displayUri(uri: string): string {
  const { username: _, ...target } = parseNbdUri(uri);
  return formatNbdUri({ ...target, parameters: new Map() });
}

/**
 * Whether a host (name or address, without brackets) is this machine's own by its spelling; nothing
 * is looked up.
 */
export function isLoopback(host: string): boolean {
  return /^(?:localhost|.*\.localhost|::1|127(?:\.\d+){3})$/.test(canonicalHost(host));
}

/** Whether the scheme demands TLS. */
export function usesTls(target: NbdTarget): boolean {
  return target.scheme.startsWith("nbds");
}

const unixForm = "nbd+unix:///export?socket=/path/of/socket";

function isScheme(text: string): text is NbdScheme {
  return ["nbd", "nbds", "nbd+unix", "nbds+unix"].includes(text);
}

function splitUser(authority: string): { username?: string; hostPort: string } {
  const at = authority.lastIndexOf("@");
  if (at < 0) return { hostPort: authority };
  const username = authority.slice(0, at);
  if (username.includes(":")) {
    throw invalid("it holds a password, which NBD does not know", "nbds://user@host:port/export");
  }
  return { username: unescapeText(username, "the user"), hostPort: authority.slice(at + 1) };
}

function parseHostPort(text: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]*)\]|([^:]*))(?::([^:]*))?$/.exec(text);
  if (!match) throw invalid("an IPv6 address needs brackets", "nbd://[::1]:10809/export");
  const [, address, name, portText] = match;
  const host = address ?? name ?? "";
  const valid = address === undefined ? /^[A-Za-z0-9._-]+$/.test(host) : isIPv6(host);
  if (host === "") throw invalid("it names no host", "nbd://host:port/export");
  if (!valid) throw invalid(`"${host}" is no host name or address`, "nbd://host:port/export");
  if (portText === undefined) return { host, port: defaultPort };
  const port = /^\d{1,5}$/.test(portText) ? Number(portText) : 0;
  if (port < 1 || port > 65_535) {
    throw invalid(`"${portText}" is no port`, "nbd://host:10809/export");
  }
  return { host, port };
}

function parseQuery(query: string): Map<string, string> {
  const parameters = new Map<string, string>();
  for (const part of query.split("&").filter(Boolean)) {
    const at = part.indexOf("=");
    const name = unescapeText(at < 0 ? part : part.slice(0, at), "a parameter");
    parameters.set(name, at < 0 ? "" : unescapeText(part.slice(at + 1), `the parameter ${name}`));
  }
  return parameters;
}

function checkExportName(name: string): void {
  if (name.includes("\0")) throw invalid("the export name holds a NUL", "a name without %00");
  if (!name.isWellFormed()) throw invalid("the export name is no Unicode", "a name in UTF-8");
  if (Buffer.byteLength(name) > exportNameBytesMax) {
    throw invalid(`the export name has more than ${exportNameBytesMax} bytes`, "a shorter name");
  }
}

function unescapeText(text: string, what: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalid(`${what} has a "%" that begins no escape of UTF-8`, "%25 for a %");
  }
}

/** Slashes stay readable; a name that begins with one must keep it apart from the authority's. */
function escapeExportName(name: string): string {
  return name.startsWith("/") ? `%2F${escapePath(name.slice(1))}` : escapePath(name);
}

function escapePath(text: string): string {
  return encodeURIComponent(text).replaceAll("%2F", "/");
}

/** One spelling for one name or address; the loopback's names are `localhost`. */
export function canonicalHost(host: string): string {
  const name = host.toLowerCase().replace(/\.$/, "");
  // The URL parser writes IPv6 in its one short form.
  const address = isIPv6(name) ? new URL(`http://[${name}]`).hostname.slice(1, -1) : name;
  const mapped = /^::ffff:([\da-f]+):([\da-f]+)$/.exec(address);
  const plain = mapped ? ipv4Of(mapped[1] ?? "0", mapped[2] ?? "0") : address;
  return ["127.0.0.1", "::1", "ip6-localhost"].includes(plain) ? "localhost" : plain;
}

function ipv4Of(high: string, low: string): string {
  const [a, b] = [Number.parseInt(high, 16), Number.parseInt(low, 16)];
  return [a >> 8, a & 255, b >> 8, b & 255].join(".");
}

function invalid(reason: string, rightForm: string): MigratekitError {
  return new MigratekitError("usage", reason, { remedy: `The right form is ${rightForm}.` });
}
