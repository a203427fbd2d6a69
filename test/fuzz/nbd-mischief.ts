// Ways in which an NBD server can break the protocol. Where one amounts to a well-formed untruth
// about the data, which no client can notice, it is marked as a lie.

import type { Random } from "../random.ts";
import type { Message, MessageKind, Outgoing } from "./nbd-server.ts";
import {
  answer,
  chunk,
  dataChunk,
  errorChunk,
  optionReply,
  simpleReply,
  statusChunk,
  structuredReply,
  u32,
  u64,
} from "./nbd-wire.ts";

export interface Trick {
  readonly name: string;
  readonly kinds: readonly MessageKind[];
  /** The client may be led to believe something untrue. */
  readonly lie?: boolean;
  act(message: Message, random: Random): Outgoing;
}

const handshake = ["greeting", "ack", "info", "blockInfo", "meta", "optionError"] as const;
const transmission = ["read", "write", "flush", "zero", "trim", "status", "error"] as const;
const everything: readonly MessageKind[] = [...handshake, ...transmission];
const errnos = [1, 5, 12, 22, 28, 75, 95, 108, 0, 12345, 0xffffffff];

const send = (bytes: Buffer): Outgoing => ({ bytes });
const nothing = Buffer.alloc(0);

const general: Trick[] = [
  {
    name: "falls silent",
    kinds: everything,
    act: () => ({ bytes: nothing, after: "silence" }),
  },
  { name: "closes instead", kinds: everything, act: () => ({ bytes: nothing, after: "close" }) },
  { name: "is gone instead", kinds: everything, act: () => ({ bytes: nothing, after: "reset" }) },
  { name: "closes afterwards", kinds: everything, act: ({ bytes }) => ({ bytes, after: "close" }) },
  {
    name: "closes in the middle",
    kinds: everything,
    act: ({ bytes }, random) => ({
      bytes: bytes.subarray(0, random.below(bytes.length)),
      after: random.pick(["close", "reset"]),
    }),
  },
  {
    name: "falls silent in the middle",
    kinds: everything,
    act: ({ bytes }, random) => ({
      bytes: bytes.subarray(0, random.below(bytes.length)),
      after: "silence",
    }),
  },
  {
    name: "sends garbage",
    kinds: everything,
    act: ({ bytes }, random) => send(random.bytes(Math.min(bytes.length, 4096))),
  },
  {
    name: "sends garbage without end",
    kinds: everything,
    act: (_, random) => ({ bytes: nothing, endlessly: random.bytes(65_536) }),
  },
  {
    name: "sends garbage first",
    kinds: everything,
    act: ({ bytes }, random) => send(Buffer.concat([random.bytes(1 + random.below(40)), bytes])),
  },
  {
    name: "sends it twice",
    kinds: everything,
    act: ({ bytes }) => send(Buffer.concat([bytes, bytes])),
  },
  {
    name: "sends it without end",
    kinds: everything,
    act: ({ bytes }) => ({ bytes, endlessly: bytes }),
  },
  {
    name: "sends it in drops",
    kinds: everything.filter((kind) => kind !== "read"),
    act: ({ bytes }) => ({ bytes, drip: true }),
  },
  {
    name: "turns a bit in the header",
    kinds: everything,
    lie: true,
    act: ({ bytes }, random) => {
      const turned = Buffer.from(bytes);
      const at = random.below(Math.min(turned.length, 36));
      turned[at]! ^= 1 << random.below(8);
      return send(turned);
    },
  },
];

const inHandshake: Trick[] = [
  {
    name: "is an old server",
    kinds: ["greeting"],
    act: () =>
      send(Buffer.concat([Buffer.from("NBDMAGIC\0\0\x42\x02\x81\x86\x12\x53"), Buffer.alloc(140)])),
  },
  {
    name: "has no fixed newstyle",
    kinds: ["greeting"],
    act: ({ bytes }) => send(Buffer.concat([bytes.subarray(0, 16), nothing, Buffer.alloc(2)])),
  },
  {
    name: "is no NBD server",
    kinds: ["greeting"],
    act: () => send(Buffer.from("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")),
  },
  {
    name: "announces a huge option reply",
    kinds: ["ack", "info", "blockInfo", "meta", "optionError"],
    act: ({ bytes }, random) =>
      send(
        Buffer.concat([bytes.subarray(0, 16), u32(random.pick([0x7fffffff, 0xffffffff, 65_537]))]),
      ),
  },
  {
    name: "announces a longer option reply than it sends",
    kinds: ["ack", "info", "blockInfo", "meta"],
    act: ({ bytes }) =>
      send(Buffer.concat([bytes.subarray(0, 16), u32(bytes.length - 20 + 9), bytes.subarray(20)])),
  },
  {
    name: "answers another option",
    kinds: ["ack", "info", "blockInfo", "meta", "optionError"],
    act: ({ bytes }) => send(Buffer.concat([bytes.subarray(0, 8), u32(99), bytes.subarray(12)])),
  },
  {
    name: "refuses",
    kinds: ["ack", "info", "meta"],
    act: ({ bytes }, random) =>
      send(
        optionReply(
          bytes.readUInt32BE(8),
          random.pick([
            answer.unsupported,
            answer.policy,
            answer.tlsRequired,
            answer.unknownExport,
            0x8000ffff,
          ]),
          random.chance(0.5)
            ? Buffer.alloc(random.pick([3, 4096, 60_000]), "e\n\u001b[2J")
            : nothing,
        ),
      ),
  },
  {
    name: "sends an information that nobody knows",
    kinds: ["info", "blockInfo"],
    act: ({ bytes }, random) =>
      send(
        Buffer.concat([optionReply(bytes.readUInt32BE(8), answer.info, random.bytes(40)), bytes]),
      ),
  },
  {
    name: "leaves the export's information out",
    kinds: ["info"],
    act: () => send(nothing),
  },
  {
    name: "sends a short information",
    kinds: ["info", "blockInfo"],
    act: ({ bytes }, random) =>
      send(
        optionReply(bytes.readUInt32BE(8), answer.info, bytes.subarray(20, 20 + random.below(8))),
      ),
  },
  {
    name: "offers another meta context",
    kinds: ["meta"],
    act: ({ bytes }) =>
      send(
        optionReply(
          bytes.readUInt32BE(8),
          answer.metaContext,
          Buffer.concat([u32(7), Buffer.from("qemu:dirty")]),
        ),
      ),
  },
  {
    name: "offers the meta context under two numbers",
    kinds: ["meta"],
    act: ({ bytes }) => {
      const context = Buffer.concat([u32(8), Buffer.from("base:allocation")]);
      return send(
        Buffer.concat([bytes, optionReply(bytes.readUInt32BE(8), answer.metaContext, context)]),
      );
    },
  },
];

const inAnswers: Trick[] = [
  {
    name: "names another request",
    kinds: transmission,
    act: ({ bytes }, random) => {
      return send(Buffer.concat([bytes.subarray(0, 8), random.bytes(8), bytes.subarray(16)]));
    },
  },
  {
    name: "answers with an error",
    kinds: transmission,
    act: ({ request }, random) => send(errorReply(request!, random)),
  },
  {
    name: "sends an error with a text longer than its chunk",
    kinds: transmission,
    act: ({ request }) =>
      send(
        structuredReply(
          request!.cookie,
          chunk.error,
          Buffer.concat([u32(5), Buffer.from([0xff, 0xff]), Buffer.from("short")]),
        ),
      ),
  },
  {
    name: "sends a kind of chunk that nobody knows",
    kinds: transmission,
    act: ({ request }, random) =>
      send(
        structuredReply(
          request!.cookie,
          random.pick([3, 4, 0x7fff, 0x8abc]),
          random.bytes(random.below(30)),
        ),
      ),
  },
  {
    name: "announces a huge chunk",
    kinds: transmission,
    act: ({ bytes, request }, random) =>
      request!.structured
        ? send(
            Buffer.concat([
              bytes.subarray(0, 16),
              u32(random.pick([0xffffffff, 0x7fffffff, 1 << 26])),
              bytes.subarray(20),
            ]),
          )
        : { bytes, after: "close" },
  },
  {
    name: "sends chunks without end that bring nothing",
    kinds: transmission,
    act: ({ request }) => ({
      bytes: nothing,
      endlessly: structuredReply(request!.cookie, chunk.none, nothing, false),
    }),
  },
  {
    name: "ends without having sent the data",
    kinds: ["read", "status"],
    act: ({ request }) => send(structuredReply(request!.cookie, chunk.none, nothing)),
  },
  {
    name: "sends less data than was asked for",
    kinds: ["read"],
    act: ({ bytes, request }, random) => {
      const data = dataOf(bytes, request!);
      const bytesShort = dataReply(request!, 0, data.subarray(0, random.below(data.length)));
      // In simple replies the next one would be taken for the missing data, and nobody could tell.
      return request!.structured ? send(bytesShort) : { bytes: bytesShort, after: "silence" };
    },
  },
  {
    name: "sends more data than was asked for",
    kinds: ["read"],
    act: ({ bytes, request }) => {
      const more = Buffer.concat([dataOf(bytes, request!), Buffer.alloc(512, 0xee)]);
      return send(dataReply(request!, 0, more));
    },
  },
  {
    name: "sends data from outside the request",
    kinds: ["read"],
    act: ({ bytes, request }, random) =>
      send(
        dataReply(
          request!,
          random.pick([-4096, request!.length, 2 ** 40]),
          dataOf(bytes, request!),
        ),
      ),
  },
  {
    name: "sends the first half twice",
    kinds: ["read"],
    lie: true,
    act: ({ bytes, request }) => {
      const half = dataOf(bytes, request!).subarray(0, request!.length >> 1);
      return send(
        Buffer.concat([dataReply(request!, 0, half, false), dataReply(request!, 0, half)]),
      );
    },
  },
  {
    name: "sends a hole beyond the request",
    kinds: ["read"],
    act: ({ request }) => {
      const payload = Buffer.concat([u64(BigInt(request!.offset)), u32(request!.length + 4096)]);
      return send(structuredReply(request!.cookie, chunk.hole, payload));
    },
  },
  {
    name: "sends an empty chunk of data first",
    kinds: ["read"],
    act: ({ bytes, request }) =>
      send(
        request!.structured
          ? Buffer.concat([dataReply(request!, 0, nothing, false), bytes])
          : bytes,
      ),
  },
  {
    name: "never says that it is done",
    kinds: ["read"],
    act: ({ bytes, request }) => send(dataReply(request!, 0, dataOf(bytes, request!), false)),
  },
  {
    name: "answers the way that was not agreed on",
    kinds: ["read", "write", "flush"],
    act: ({ bytes, request }) => {
      const data = request!.type === 0 ? dataOf(bytes, request!) : nothing;
      return send(
        request!.structured
          ? simpleReply(request!.cookie, 0, data)
          : request!.type === 0
            ? dataReply({ ...request!, structured: true }, 0, data)
            : structuredReply(request!.cookie, chunk.none, nothing),
      );
    },
  },
  status("an extent of no length", (length) => [
    [0, 0],
    [length, 0],
  ]),
  status("only an extent of no length", () => [[0, 0]]),
  status("no extent", () => []),
  status("extents of no length without end", () =>
    Array.from({ length: 20_000 }, () => [0, 3] as const),
  ),
  status("an extent far beyond the end", () => [[0xfffff000, 0]]),
  status("extents that sum up beyond 64 bits", (length) => [
    [length, 0],
    ...Array.from({ length: 64 }, () => [0xffffffff, 0] as const),
  ]),
  status("an extent in odd bytes", (length) => [[Math.max(1, length - 7), 0]]),
  status("extents by the byte", (length) =>
    Array.from({ length: Math.min(length, 4096) }, () => [1, 0] as const),
  ),
  status("extents of another context", (length) => [[length, 0]], 8),
  {
    name: "describes extents without end",
    kinds: ["status"],
    act: ({ request }) => {
      const pairs = Array.from({ length: 4096 }, () => [1, 0] as const);
      const part = statusChunk(7, pairs);
      const reply = structuredReply(request!.cookie, chunk.blockStatus, part, false);
      return { bytes: nothing, endlessly: reply };
    },
  },
  {
    name: "describes a list of extents that is cut",
    kinds: ["status"],
    act: ({ request }) => {
      const payload = Buffer.concat([statusChunk(7, [[request!.length, 0]]), Buffer.alloc(3)]);
      return send(structuredReply(request!.cookie, chunk.blockStatus, payload));
    },
  },
];

export const tricks: readonly Trick[] = [...general, ...inHandshake, ...inAnswers];

function status(
  what: string,
  pairs: (length: number) => readonly (readonly [number, number])[],
  context = 7,
): Trick {
  return {
    name: `describes ${what}`,
    kinds: ["status"],
    act: ({ request }) =>
      send(
        structuredReply(
          request!.cookie,
          chunk.blockStatus,
          statusChunk(context, pairs(request!.length)),
        ),
      ),
  };
}

type Requested = NonNullable<Message["request"]>;

function dataOf(bytes: Buffer, request: Requested): Buffer {
  return bytes.subarray(bytes.length - request.length);
}

function dataReply(request: Requested, shift: number, data: Buffer, done = true): Buffer {
  if (!request.structured) return simpleReply(request.cookie, 0, data);
  const payload = dataChunk(BigInt(request.offset + shift), data);
  return structuredReply(request.cookie, chunk.data, payload, done);
}

function errorReply(request: Requested, random: Random): Buffer {
  const error = random.pick(errnos);
  // "No error" as the answer to a read without data would be an untruth in simple replies.
  if (!request.structured) return simpleReply(request.cookie, error || 5);
  return structuredReply(request.cookie, chunk.error, errorChunk(error, "b\u001b[31mad\nnews"));
}
