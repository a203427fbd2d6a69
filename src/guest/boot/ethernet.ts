/** What a guest sends into its network, frame by frame: enough of it to see that it has come up. */

/** A claim to an address, or a question for one: ARP (RFC 826) and DHCP (RFC 2131). */
export type Heard =
  | { readonly kind: "arp"; readonly mac: string; readonly address: string }
  | { readonly kind: "dhcp"; readonly mac: string };

const typeOffset = 12;
const etherTypes = { ipv4: 0x0800, arp: 0x0806, vlan: 0x8100 } as const;
const noAddress = "0.0.0.0";

/** What a frame tells; undefined: nothing of these, or it is cut off. */
export function readFrame(frame: Buffer): Heard | undefined {
  if (frame.length < typeOffset + 2) return undefined;
  const mac = macAt(frame, 6);
  const tagged = frame.readUInt16BE(typeOffset) === etherTypes.vlan ? 4 : 0;
  if (frame.length < typeOffset + tagged + 2) return undefined;
  const type = frame.readUInt16BE(typeOffset + tagged);
  const body = frame.subarray(typeOffset + tagged + 2);
  if (type === etherTypes.arp) return readArp(body, mac);
  return type === etherTypes.ipv4 && asksForAddress(body) ? { kind: "dhcp", mac } : undefined;
}

/** A probe for a conflict (RFC 5227) has no sender's address yet, and asks for the one it wants. */
function readArp(body: Buffer, mac: string): Heard | undefined {
  const ofIpv4 = body.length >= 28 && body.readUInt16BE(2) === etherTypes.ipv4;
  if (!ofIpv4 || macAt(body, 8) !== mac) return undefined;
  const sender = addressAt(body, 14);
  const address = sender === noAddress ? addressAt(body, 24) : sender;
  return address === noAddress ? undefined : { kind: "arp", mac, address };
}

/** UDP from port 68 to port 67. */
function asksForAddress(packet: Buffer): boolean {
  const headerBytes = ((packet[0] ?? 0) & 0x0f) * 4;
  if (packet[9] !== 17 || packet.length < headerBytes + 4) return false;
  return packet.readUInt16BE(headerBytes) === 68 && packet.readUInt16BE(headerBytes + 2) === 67;
}

function macAt(buffer: Buffer, offset: number): string {
  return buffer.toString("hex", offset, offset + 6).replace(/..(?!$)/g, "$&:");
}

function addressAt(buffer: Buffer, offset: number): string {
  return [...buffer.subarray(offset, offset + 4)].join(".");
}

/** No frame of QEMU is longer: 64 KiB and headers. */
const frameBytesMax = 128 * 1024;

/** Cuts a stream of QEMU's (each frame behind its length, 32 bits, big endian) into frames. */
export class FrameCutter {
  #rest: Buffer = Buffer.alloc(0);

  /** @throws RangeError for a length that no frame has: the stream is out of step */
  push(chunk: Buffer): Buffer[] {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const frames: Buffer[] = [];
    while (this.#rest.length >= 4) {
      const length = this.#rest.readUInt32BE(0);
      if (length > frameBytesMax) throw new RangeError(`a frame of ${length} bytes`);
      if (this.#rest.length < 4 + length) break;
      frames.push(this.#rest.subarray(4, 4 + length));
      this.#rest = this.#rest.subarray(4 + length);
    }
    return frames;
  }
}
