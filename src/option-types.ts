/** Turns the text of one flag, variable or configuration field into a value, or says what is wrong. */

import { isIP } from "node:net";
import type { RatePlan, RateStep } from "./rate-plan.ts";
import { isUuid } from "./uuid.ts";

/** Thrown by a parser; config.ts adds the name of the flag, variable or line that held the text. */
export class InvalidValue extends Error {}

export interface Parser<T> {
  (text: string): T;
  /** The only texts it takes, where they can be listed. */
  readonly allowed?: readonly string[];
}

/** Any text but the empty one, without a NUL character. */
export const text: Parser<string> = (value) => {
  if (value === "") throw new InvalidValue("must not be empty");
  if (value.includes("\0")) throw new InvalidValue("must not contain a NUL character");
  return value;
};

/** `KEY=VALUE,…`: each key once. */
export const labels: Parser<readonly string[]> = (value) => {
  const given = value.split(",").map((label) => label.trim());
  for (const label of given) {
    if (!/^[\w.-]+=[\w.:-]+$/.test(label)) {
      throw new InvalidValue(`has "${label}"; it takes KEY=VALUE, such as site=rome`);
    }
  }
  const keys = given.map((label) => label.slice(0, label.indexOf("=")));
  const twice = keys.find((key, at) => keys.indexOf(key) !== at);
  if (twice !== undefined) throw new InvalidValue(`has ${twice} twice`);
  return given;
};

/** A switch: true, false, 1, 0, yes, no, on, off; nothing is false. */
export const flag: Parser<boolean> = (value) => {
  if (/^(1|true|yes|on)$/i.test(value)) return true;
  if (/^(0|false|no|off|)$/i.test(value)) return false;
  throw new InvalidValue(`is "${value}"; it takes true or false`);
};

/** A whole number from `min` to `max`, both included. */
export function integer(min: number, max: number): Parser<number> {
  return (value) => {
    const number = Number(value);
    if (!/^\d+$/.test(value) || number < min || number > max) {
      throw new InvalidValue(`is "${value}"; it takes a whole number from ${min} to ${max}`);
    }
    return number;
  };
}

/** A whole number, or `auto` for "measure and decide" (undefined). */
export function integerOrAuto(min: number, max: number): Parser<number | undefined> {
  const whole = integer(min, max);
  return (value) => {
    if (value === "auto") return undefined;
    try {
      return whole(value);
    } catch {
      throw new InvalidValue(
        `is "${value}"; it takes auto or a whole number from ${min} to ${max}`,
      );
    }
  };
}

/** One of these words, as they are written. */
export function oneOf<const T extends string>(...allowed: T[]): Parser<T> {
  const parse = (value: string) => {
    const match = allowed.find((candidate) => candidate === value);
    if (match === undefined) {
      throw new InvalidValue(`is "${value}"; it takes one of ${allowed.join(", ")}`);
    }
    return match;
  };
  return Object.assign(parse, { allowed });
}

/** Bytes such as `4G`, `512M`, `0`; K, M, G and T are powers of 1024. */
export const size: Parser<number> = (value) => {
  const bytes = bytesOf(value, /^(\d+(?:\.\d+)?)([KMGT])?(?:i?B)?$/i);
  if (bytes === undefined) throw new InvalidValue(`is "${value}"; it takes bytes such as 4G or 0`);
  return bytes;
};

/** For what is on the way between two servers. */
export const copyMemory: Parser<number> = (value) => {
  const bytes = size(value);
  if (bytes >= 32 * 2 ** 20 && bytes <= 2 ** 30) return bytes;
  throw new InvalidValue(`is "${value}"; it takes a size from 32M to 1G`);
};

function bytesOf(value: string, form: RegExp): number | undefined {
  const match = form.exec(value);
  if (!match) return undefined;
  const power = " KMGT".indexOf((match[2] ?? " ").toUpperCase());
  return Math.floor(Number(match[1]) * 1024 ** power);
}

/** Bytes per second such as `500M`, `1.5G`, `800000`; K, M and G are powers of 1024; `off` is 0. */
function byteRate(value: string): number | undefined {
  if (value === "off") return 0;
  const bytes = bytesOf(value, /^(\d+(?:\.\d+)?)([KMGT])?(?:i?B)?(?:\/s)?$/i) ?? 0;
  return bytes < 4096 ? undefined : bytes;
}

const rateForm = "bytes per second such as 200M, at least 4K, or off";

/** A rate that is one: bytes per second, at least 4K. */
export const rate: Parser<number> = (value) => {
  const bytesPerSecond = value === "off" ? undefined : byteRate(value);
  if (bytesPerSecond !== undefined) return bytesPerSecond;
  throw new InvalidValue(`is "${value}"; it takes bytes per second such as 200M, at least 4K`);
};

/** `5`, `2.5`, `5%` from 0 to 100. Gives a share: 0.05. */
export const percent: Parser<number> = (value) => {
  const share = Number(/^(\d+(?:\.\d+)?)\s*%?$/.exec(value)?.[1]) / 100;
  if (share <= 1) return share;
  throw new InvalidValue(`is "${value}"; it takes a percentage from 0 to 100`);
};

/** A time of ISO 8601 with its zone, as `2026-12-01T20:00Z` or `…+01:00`. Gives ms since 1970. */
export const instant: Parser<number> = (value) => {
  const form = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/;
  const at = form.test(value) ? Date.parse(value) : Number.NaN;
  if (!Number.isNaN(at)) return at;
  throw new InvalidValue(`is "${value}"; it takes a time with its zone, such as 2026-12-01T20:00Z`);
};

/** Paths with commas between. */
export const files: Parser<readonly string[]> = (value) => value.split(",").map(text);

/** A rate, or rates with the times of the day from which they hold: `08:00,50M 19:00,off`. */
export const ratePlan: Parser<RatePlan> = (value) => {
  const words = value.split(/[\s,]+/).filter(Boolean);
  if (!words.some((word) => word.includes(":"))) {
    const bytesPerSecond = byteRate(value.trim());
    if (bytesPerSecond !== undefined) return [{ minute: 0, bytesPerSecond }];
    throw new InvalidValue(
      `is "${value}"; it takes ${rateForm}, or a timetable such as "08:00,50M 19:00,off"`,
    );
  }
  const steps: RateStep[] = [];
  for (let at = 0; at < words.length; at += 2) {
    steps.push(rateStep(words[at]!, words[at + 1]));
    const { minute } = steps.at(-1)!;
    if (steps.some((step, other) => other < at / 2 && step.minute === minute)) {
      throw new InvalidValue(`has ${words[at]} twice`);
    }
  }
  return steps.sort((a, b) => a.minute - b.minute);
};

function rateStep(time: string, rate: string | undefined): RateStep {
  const [, hours, minutes] = /^(\d{1,2}):(\d\d)$/.exec(time) ?? [];
  if (hours === undefined || Number(hours) > 23 || Number(minutes) > 59) {
    throw new InvalidValue(`has "${time}"; it takes a time of the day from 00:00 to 23:59 there`);
  }
  const bytesPerSecond = rate === undefined ? undefined : byteRate(rate);
  if (bytesPerSecond === undefined) {
    const what = rate === undefined ? "no rate" : `"${rate}"`;
    throw new InvalidValue(`has ${what} for ${time}; it takes ${rateForm}`);
  }
  return { minute: Number(hours) * 60 + Number(minutes), bytesPerSecond };
}

/** A span such as `90s`, `5m`, `2h`; a bare number is seconds. Gives milliseconds. */
export const duration: Parser<number> = (value) => {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(value);
  if (!match) throw new InvalidValue(`is "${value}"; it takes a span such as 90s, 5m or 2h`);
  const unitMs = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }[match[2] ?? "s"] ?? 1000;
  return Math.round(Number(match[1]) * unitMs);
};

/** As {@link duration}, from a second to a day. */
export const patience: Parser<number> = (value) => {
  const spanMs = duration(value);
  if (spanMs >= 1000 && spanMs <= 86_400_000) return spanMs;
  throw new InvalidValue(`is "${value}"; it takes a span from 1s to 24h`);
};

export interface Endpoint {
  /** Name or address, without brackets. */
  readonly host: string;
  readonly port: number;
}

/** `HOST`, `HOST:PORT`, `[IPv6]:PORT`; a pasted `https://HOST/sdk` is understood too. */
export const endpoint: Parser<Endpoint> = (value) => {
  const bare = value.replace(/^https:\/\//i, "").replace(/\/(sdk\/?|ui\/?)?$/, "");
  const match = /^(?:\[([0-9a-fA-F:.%]+)\]|([^\s:/@[\]?#]+))(?::(\d{1,5}))?$/.exec(bare);
  const port = match?.[3] === undefined ? 443 : Number(match[3]);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined || port < 1 || port > 65535) {
    throw new InvalidValue(`is "${value}"; it takes HOST or HOST:PORT, [IPv6]:PORT for IPv6`);
  }
  return { host, port };
};

/** NBD URIs with commas between; a comma in a name is %2C. */
export const uris: Parser<readonly string[]> = (value) => {
  const found = value.split(",").map((each) => each.trim());
  const other = found.find((each) => !/^nbds?(\+unix)?:\/\/./.test(each));
  if (other === undefined) return found;
  throw new InvalidValue(`holds "${other}"; it takes NBD URIs such as nbd://host:port/export`);
};

export interface GivenNic {
  /** Lower case, with colons. */
  readonly mac: string;
  readonly addresses: readonly string[];
}

/** `52:54:00:12:34:56`, `52:54:00:12:34:56=192.0.2.7/24`, with commas between. */
export const networkCards: Parser<readonly GivenNic[]> = (value) =>
  value.split(",").map((text) => {
    const [mac = "", address] = text.trim().toLowerCase().split("=");
    // A card's own address is unicast: the lowest bit of its first octet is not set.
    const isMac = /^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/.test(mac);
    const isAddress = address === undefined || isIP(address.replace(/\/\d{1,3}$/, "")) !== 0;
    if (isMac && isAddress) return { mac, addresses: address === undefined ? [] : [address] };
    throw new InvalidValue(
      `holds "${text}"; it takes MAC or MAC=ADDRESS, such as 52:54:00:12:34:56=192.0.2.7/24`,
    );
  });

export interface GivenKey {
  /** Of the LUKS header, in lower case; undefined: for every one. */
  readonly uuid?: string;
  readonly file: string;
}

/** `FILE`, `UUID=FILE`, with commas between. */
export const luksKeys: Parser<readonly GivenKey[]> = (value) =>
  value.split(",").map((text) => {
    const [, uuid, file = ""] = /^(?:([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})=)?(.*)$/is.exec(
      text.trim(),
    )!;
    if (file === "") throw new InvalidValue(`holds "${text}"; it takes FILE or UUID=FILE`);
    return uuid === undefined ? { file } : { uuid: uuid.toLowerCase(), file };
  });

/** `single`, `first`, or a device of the guest such as /dev/sda2 or /dev/vg0/root. */
export const guestRoot: Parser<string> = (value) => {
  if (/^(single|first|\/dev\/[\w/.+-]+)$/.test(value)) return value;
  throw new InvalidValue(`is "${value}"; it takes single, first, or a device such as /dev/sda2`);
};

/** A base URL without credentials; slashes at its end are taken off. */
export const httpUrl: Parser<string> = (value) => {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new InvalidValue(`is "${value}"; it takes a URL such as http://localhost:8081`);
  }
  if (url.username || url.password) throw new InvalidValue("must not carry credentials");
  return value.replace(/\/+$/, "");
};

/** `2001,2002`: device keys of virtual disks; `disk-2001` works too. */
export const deviceKeys: Parser<readonly number[]> = (value) =>
  value.split(",").map((part) => {
    const match = /^(?:disk-)?(\d{1,9})$/.exec(part.trim());
    if (!match) {
      throw new InvalidValue(`has "${part}"; it takes device keys such as 2001 or 2001,2002`);
    }
    return Number(match[1]);
  });

/**
 * `2000:52 de c0 … 08/7,2001:…`: device key to change ID, which is 16 bytes in hexadecimal, a slash
 * and a number. `disk-2000` works too, as do change IDs in quotes.
 */
export const changeIds: Parser<ReadonlyMap<number, string>> = (value) => {
  const entries = value.split(",").map((part): [number, string] => {
    const match = /^(?:disk-)?(\d{1,9})[:=]\s*["']?([0-9a-f -]+\/\d{1,19})["']?$/i.exec(
      part.trim(),
    );
    if (match?.[1] === undefined || match[2] === undefined) {
      throw new InvalidValue(`has "${part.trim()}"; it takes KEY:ID, as in 2000:52 de c0 … 08/7`);
    }
    return [Number(match[1]), match[2]];
  });
  return new Map(entries);
};

/** An inventory path such as `/Datacenter/vm/Folder/VM`. */
export const inventoryPath: Parser<string> = (value) => {
  if (!value.startsWith("/") || value.length < 2) {
    throw new InvalidValue(`is "${value}"; it takes a path such as /Datacenter/vm/Folder/VM`);
  }
  return value.replace(/\/+$/, "");
};

/** Where progress is shown: bars or log lines, log lines always, or JSON lines on a descriptor. */
export type ProgressForm =
  | { readonly kind: "auto" | "lines" }
  | { readonly kind: "json"; readonly fd: number };

/** `auto`, `lines`, `json` (on stderr), `json:3`; a switch of old means the first two. */
export const progressForm: Parser<ProgressForm> = Object.assign(
  (value: string): ProgressForm => {
    if (/^(auto|1|true|yes|on)$/i.test(value)) return { kind: "auto" };
    if (/^(lines|0|false|no|off|)$/i.test(value)) return { kind: "lines" };
    const json = /^json(?::(\d{1,6}))?$/.exec(value);
    if (json) return { kind: "json", fd: Number(json[1] ?? 2) };
    throw new InvalidValue(`is "${value}"; it takes auto, lines, json or json:DESCRIPTOR`);
  },
  { allowed: ["auto", "lines", "json"] },
);

/** As {@link httpUrl}; the path that every CloudStack has may be left out. */
export const cloudStackUrl: Parser<string> = (value) => {
  const url = httpUrl(value);
  return new URL(url).pathname === "/" ? `${url}/client/api` : url;
};

function uuid(value: string): string {
  const id = value.trim().toLowerCase();
  if (isUuid(id)) return id;
  throw new InvalidValue(
    `has "${value}"; it takes an id such as 8d1f…-…-…: 32 hexadecimal digits with four hyphens`,
  );
}

/** Names with commas between. */
export const names: Parser<readonly string[]> = (value) => {
  const found = value.split(",").map((name) => name.trim());
  if (!found.includes("")) return found;
  throw new InvalidValue(`has an empty name in "${value}"`);
};

/** Ids with commas between. */
export const uuids: Parser<readonly string[]> = (value) => value.split(",").map(uuid);

/** `127.0.0.1:10809`, `[::1]:10809`. */
export const listenAddress: Parser<Endpoint> = (value) => {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:/@[\]?#]+)):(\d{1,5})$/.exec(value);
  const port = Number(match?.[3]);
  const host = match?.[1] ?? match?.[2];
  if (host !== undefined && port >= 1 && port <= 65535) return { host, port };
  throw new InvalidValue(`is "${value}"; it takes ADDRESS:PORT, such as 127.0.0.1:10809`);
};

/** `auto`, or the id of an instance. */
export const autoOrUuid: Parser<string> = (value) => (value === "auto" ? value : uuid(value));

/** `create`, or `2000:ID,2001:ID`: device keys of disks to ids of volumes. */
export const cloudStackVolumes: Parser<"create" | ReadonlyMap<number, string>> = (value) => {
  if (value === "create") return value;
  const volumes = new Map<number, string>();
  for (const part of value.split(",")) {
    const [, key, id] = /^\s*(?:disk-)?(\d{1,9})[:=](.*)$/.exec(part) ?? [];
    if (key === undefined || id === undefined) {
      throw new InvalidValue(`has "${part.trim()}"; it takes create, or KEY:ID as in 2000:8d1f…`);
    }
    if (volumes.has(Number(key))) throw new InvalidValue(`has disk ${key} twice`);
    const twice = [...volumes].find(([, other]) => other === uuid(id));
    if (twice) throw new InvalidValue(`gives disks ${twice[0]} and ${key} the same volume`);
    volumes.set(Number(key), uuid(id));
  }
  return volumes;
};

/** A host label: letters, digits and hyphens, at most 63, a letter first and no hyphen last. */
export const hostLabel: Parser<string> = (value) => {
  if (/^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/i.test(value)) return value;
  throw new InvalidValue(
    `is "${value}"; it takes letters, digits and hyphens, at most 63, beginning with a letter`,
  );
};

/** Where the cards of one port group go. */
export interface NetworkMapping {
  readonly portGroup: string;
  /** Name or id. */
  readonly network: string;
  /** `keep` what the guest has, let CloudStack choose, or this address. */
  readonly ip: "keep" | "auto" | (string & {});
}

/** `VM Network=lan,ip=keep`, several with commas between; %2C and %3D are a comma and a = in a name. */
export const networkMappings: Parser<readonly NetworkMapping[]> = (value) => {
  const mappings: { portGroup: string; network: string; ip?: string }[] = [];
  for (const part of value.split(",").map((each) => each.trim())) {
    const at = part.indexOf("=");
    const [left, right] = [part.slice(0, Math.max(at, 0)), part.slice(at + 1)].map(unescapeName);
    if (!left || !right) {
      throw new InvalidValue(
        `has "${part}"; it takes PORTGROUP=NETWORK, then ,ip=keep, ,ip=auto or ,ip=ADDRESS`,
      );
    }
    const last = mappings.at(-1);
    // A port group called "ip" is written %69p.
    if (!part.startsWith("ip=")) {
      if (mappings.some(({ portGroup }) => portGroup === left))
        throw new InvalidValue(`has the port group "${left}" twice`);
      mappings.push({ portGroup: left, network: right });
      continue;
    }
    if (last === undefined) throw new InvalidValue(`has "${part}" before any PORTGROUP=NETWORK`);
    if (last.ip !== undefined) throw new InvalidValue(`has two addresses for "${last.portGroup}"`);
    if (right !== "keep" && right !== "auto" && isIP(right) !== 4) {
      throw new InvalidValue(`has "${part}"; it takes ip=keep, ip=auto or an IPv4 address there`);
    }
    last.ip = right;
  }
  return mappings.map((mapping) => ({ ip: "keep", ...mapping }));
};

/** What `{…}` may stand for in `--plan-target`. */
const planPlaceholders = ["vm", "key", "index", "moref", "uuid"];

/** An NBD URI with `{vm}`, `{moref}` or `{uuid}` and `{key}` or `{index}` in it: a target for each disk of each VM. */
export const planTarget: Parser<string> = (value) => {
  const names = [...text(value).matchAll(/\{([^}]*)\}/g)].map(([, name = ""]) => name);
  const unknown = names.find((name) => !planPlaceholders.includes(name));
  const all = planPlaceholders.map((name) => `{${name}}`).join(", ");
  if (unknown !== undefined) throw new InvalidValue(`has {${unknown}}; it takes ${all}`);
  const ofVm = names.some((name) => ["vm", "moref", "uuid"].includes(name));
  const ofDisk = names.some((name) => ["key", "index"].includes(name));
  if (ofVm && ofDisk) return value;
  throw new InvalidValue(
    `is "${value}", which names no ${ofVm ? "disk" : "VM"}; it takes an NBD URI such as nbd://host:10809/{vm}-disk-{key}`,
  );
};

function unescapeName(text: string): string {
  return text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
}

/** What has to be seen of a new machine. `tcp` without a host: at an address that CloudStack gave it. */
export type AliveProbe =
  | { readonly kind: "state" | "arp" }
  | { readonly kind: "tcp"; readonly host?: string; readonly port: number };

export const aliveProbe: Parser<AliveProbe> = Object.assign(
  (value: string): AliveProbe => {
    if (value === "state" || value === "arp") return { kind: value };
    const tcp = /^tcp:(?:(?:\[([0-9a-f:.]+)\]|([^\s:[\]]+)):)?(\d{1,5})$/i.exec(value);
    const port = Number(tcp?.[3]);
    if (tcp && port >= 1 && port <= 65535) {
      const host = tcp[1] ?? tcp[2];
      return { kind: "tcp", ...(host === undefined ? {} : { host }), port };
    }
    throw new InvalidValue(`is "${value}"; it takes state, tcp:PORT, tcp:HOST:PORT or arp`);
  },
  { allowed: ["state", "arp"] },
);
