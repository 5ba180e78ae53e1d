/** One MQTT 3.1.1 control packet as it stands on the wire. */
export type RawPacket = { readonly type: number; readonly bytes: Buffer };

/** Control packet types (MQTT 3.1.1, table 2.1). */
export const CONNECT = 1;
export const PUBLISH = 3;
export const PUBACK = 4;

/** A PUBLISH taken apart. `packetId` is undefined for QoS 0. */
export type Publish = { readonly topic: string; readonly packetId: number | undefined; readonly payload: Buffer };

const most = 4;

/** Cuts a byte stream into packets, whatever its chunks are. */
export class PacketSplitter {
  #rest: Buffer = Buffer.alloc(0);

  /** @throws {RangeError} for a remaining length of more than four bytes, which no MQTT peer sends */
  push(chunk: Uint8Array): RawPacket[] {
    let rest = this.#rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#rest, chunk]);
    const packets: RawPacket[] = [];
    for (;;) {
      const header = readHeader(rest);
      if (header === undefined || rest.length < header.end) break;
      packets.push({ type: rest[0]! >> 4, bytes: rest.subarray(0, header.end) });
      rest = rest.subarray(header.end);
    }
    this.#rest = rest;
    return packets;
  }
}

/** Takes a PUBLISH apart. */
export function readPublish({ bytes }: RawPacket): Publish {
  const { start } = readHeader(bytes)!;
  const topicEnd = start + 2 + bytes.readUInt16BE(start);
  const topic = bytes.toString("utf8", start + 2, topicEnd);
  const qos = (bytes[0]! >> 1) & 3;
  return qos === 0
    ? { topic, packetId: undefined, payload: bytes.subarray(topicEnd) }
    : { topic, packetId: bytes.readUInt16BE(topicEnd), payload: bytes.subarray(topicEnd + 2) };
}

/** The packet that a PUBACK acknowledges. */
export function acknowledgedId({ bytes }: RawPacket): number {
  return bytes.readUInt16BE(readHeader(bytes)!.start);
}

/** The client identifier of a CONNECT: the first field behind protocol name, level, flags and keepalive. */
export function clientIdOf({ bytes }: RawPacket): string {
  const { start } = readHeader(bytes)!;
  const at = start + 2 + bytes.readUInt16BE(start) + 4;
  return bytes.toString("utf8", at + 2, at + 2 + bytes.readUInt16BE(at));
}

/** A PUBLISH of QoS 0: it needs no packet id, so it can be slipped into any connection. */
export function encodePublish(topic: string, payload: Uint8Array): Buffer {
  const name = Buffer.from(topic);
  const body = Buffer.concat([Buffer.of(name.length >> 8, name.length & 0xff), name, payload]);
  const length: number[] = [];
  let left = body.length;
  do {
    length.push((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
    left >>= 7;
  } while (left > 0);
  return Buffer.concat([Buffer.of(PUBLISH << 4, ...length), body]);
}

/** Where the variable header starts and the packet ends; undefined while its length has not come whole. */
function readHeader(bytes: Buffer): { start: number; end: number } | undefined {
  let length = 0;
  for (let i = 0; i < most; i++) {
    const byte = bytes[1 + i];
    if (byte === undefined) return undefined;
    length += (byte & 0x7f) * 128 ** i;
    if (byte < 0x80) return { start: 2 + i, end: 2 + i + length };
  }
  throw new RangeError("the remaining length has more than four bytes");
}
