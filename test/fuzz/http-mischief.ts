// An HTTP answer on its way out: mostly as it was meant but for its body, now and then broken itself.

import { gzipSync } from "node:zlib";
import type { Random } from "../random.ts";
import { mutatedText } from "./text-mutations.ts";

export interface GoodAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface RawAnswer {
  readonly bytes: Buffer;
  readonly after?: "close" | "reset" | "silence";
  /** Sent again and again until the client has had enough. */
  readonly endlessly?: Buffer;
  /** In drops. */
  readonly drip?: boolean;
}

type Breakage = (good: GoodAnswer, random: Random, trap: string) => RawAnswer;

const statuses = [
  100, 101, 103, 200, 201, 204, 206, 304, 400, 401, 403, 404, 418, 429, 500, 502, 503, 504, 600,
  999,
];
const redirects = [300, 301, 302, 303, 307, 308];
const lengths = ["-1", "0", "5", "1e9", "99999999999999999999", "abc", "", "5, 6", "0x10"];

const breakages: Breakage[] = [
  (good, random) => whole({ ...good, status: random.pick(statuses) }),
  (good, random, trap) =>
    whole({
      ...good,
      status: random.pick(redirects),
      headers: { ...good.headers, Location: trap },
    }),
  (good, random) => raw(good, { "Content-Length": random.pick(lengths) }, good.body, "close"),
  (good, random) =>
    raw(
      good,
      { "Content-Length": `${length(good) + 100}` },
      good.body,
      random.pick(["close", "silence"]),
    ),
  (good) => raw(good, { "Content-Length": `${length(good) >> 1}` }, good.body),
  (good) => raw(good, { "Transfer-Encoding": "chunked" }, chunks(good.body)),
  (good, random) =>
    raw(
      good,
      { "Transfer-Encoding": "chunked" },
      random.pick([
        "zz\r\nabc\r\n",
        "ffffffffffff\r\nabc",
        "-5\r\nhello\r\n0\r\n\r\n",
        "5;x=y\r\nhello",
      ]),
      "close",
    ),
  (good) => ({
    ...raw(good, { "Transfer-Encoding": "chunked" }, ""),
    endlessly: Buffer.from("4000\r\n".concat(" ".repeat(0x4000), "\r\n")),
  }),
  (good) => ({
    ...raw(good, { "Content-Length": "99999999999" }, ""),
    endlessly: Buffer.alloc(65_536, " "),
  }),
  (good) => ({
    bytes: Buffer.concat([head(good, {}), Buffer.from("\r\n")]),
    endlessly: Buffer.alloc(65_536, "x"),
  }),
  (good) =>
    ({
      bytes: Buffer.from("HTTP/1.1 200 OK\r\n"),
      endlessly: Buffer.from(`X-More: ${"y".repeat(1000)}\r\n`),
      headers: good.headers,
    }) as RawAnswer,
  (good) =>
    raw(good, { "X-Long": "z".repeat(100_000), "Content-Length": `${length(good)}` }, good.body),
  (good) =>
    raw(good, { "Content-Encoding": "gzip", "Content-Length": `${length(good)}` }, good.body),
  (good) => {
    const bomb = gzipSync(Buffer.alloc(4 << 20, " "));
    return raw(good, { "Content-Encoding": "gzip", "Content-Length": `${bomb.length}` }, bomb);
  },
  (good) =>
    raw(
      good,
      { "Set-Cookie": "vmware_soap_session=a b\u0001;c", "Content-Length": `${length(good)}` },
      good.body,
    ),
  (good, random) => {
    const { bytes } = whole(good);
    return {
      bytes: bytes.subarray(0, random.below(bytes.length)),
      after: random.pick(["close", "reset", "silence"]),
    };
  },
  (good, random) => {
    const bytes = Buffer.from(whole(good).bytes);
    for (let left = 1 + random.below(4); left > 0; left--)
      bytes[random.below(Math.min(bytes.length, 200))]! ^= 1 << random.below(8);
    return { bytes, after: "close" };
  },
  (good) => ({ bytes: Buffer.concat([whole(good).bytes, whole(good).bytes]) }),
  (good, random) => ({
    bytes: Buffer.concat([random.bytes(1 + random.below(60)), whole(good).bytes]),
    after: "close",
  }),
  (_, random) => ({
    bytes: random.bytes(1 + random.below(2000)),
    after: random.pick(["close", "silence"]),
  }),
  () => ({ bytes: Buffer.from("SSH-2.0-OpenSSH_9.2\r\n"), after: "silence" }),
  () => ({ bytes: Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), after: "close" }),
  (good) => ({ bytes: Buffer.from(good.body), after: "close" }),
  () => ({ bytes: Buffer.alloc(0), after: "close" }),
  () => ({ bytes: Buffer.alloc(0), after: "reset" }),
  () => ({ bytes: Buffer.alloc(0), after: "silence" }),
  (good) => ({ bytes: whole(good).bytes, drip: true }),
  (good) => whole({ ...good, body: "<!DOCTYPE html><html><body>Welcome</body></html>" }),
  (good) => whole({ ...good, body: " ".repeat(2 << 20) }),
  (good) => raw(good, { "Content-Length": "3" }, Buffer.from([0xff, 0xfe, 0x80])),
];

/** `trap` is where redirects point; nobody may ever come there. */
export function mischievousAnswer(
  good: GoodAnswer,
  kind: "xml" | "json",
  random: Random,
  trap: string,
): RawAnswer {
  if (random.chance(0.35)) return random.pick(breakages)(good, random, trap);
  return whole({ ...good, body: mutatedText(good.body, kind, random) });
}

export function whole(good: GoodAnswer): RawAnswer {
  return raw(good, { "Content-Length": `${length(good)}` }, good.body);
}

function raw(
  good: GoodAnswer,
  headers: Readonly<Record<string, string>>,
  body: string | Buffer,
  after?: RawAnswer["after"],
): RawAnswer {
  const bytes = Buffer.concat([
    head(good, headers),
    Buffer.from("\r\n"),
    Buffer.from(body as string),
  ]);
  return after ? { bytes, after } : { bytes };
}

function head(good: GoodAnswer, headers: Readonly<Record<string, string>>): Buffer {
  const lines = Object.entries({ ...good.headers, ...headers }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  );
  return Buffer.from(`HTTP/1.1 ${good.status} Whatever\r\n${lines.join("")}`);
}

function length({ body }: GoodAnswer): number {
  return Buffer.byteLength(body);
}

function chunks(body: string): string {
  const size = Buffer.byteLength(body).toString(16);
  return `${size}\r\n${body}\r\n0\r\n\r\n`;
}
