import { PacketGuard } from "@smile/runtime/mqtt-packet-guard";
import type { Target } from "./fuzzer.ts";
import { must } from "./keys.ts";

const LIMITS = { maxPacketBytes: 300, maxConnectBytes: 60 };

/** A packet: its type and flags, its length, its body. */
const packet = (first: number, body: readonly number[]): number[] => {
  const length = body.length < 128 ? [body.length] : [(body.length & 127) | 128, body.length >> 7];
  return [first, ...length, ...body];
};
const connect = packet(0x10, [0, 4, 77, 81, 84, 84, 4, 2, 0, 60, 0, 2, 103, 49]);
const publish = (bytes: number) => packet(0x32, [0, 3, 97, 47, 98, 0, 1, ...Array<number>(bytes).fill(7)]);

/** The guard's verdict, and where each packet ended, when the bytes come in pieces of this length. */
function scanned(bytes: Uint8Array, piece: number) {
  const guard = new PacketGuard(LIMITS);
  const ends: number[] = [];
  for (let at = 0; at < bytes.length && guard.offence === null; ) {
    const chunk = bytes.subarray(at, Math.min(bytes.length, at + piece));
    const read = guard.scan(chunk, 1);
    must(read > 0 && read <= chunk.length, "a scan makes no progress");
    at += read;
    if (guard.offence === null && (ends.at(-1) ?? 0) < at) ends.push(at);
  }
  return { offence: guard.offence, sawConnect: guard.sawConnect, ends };
}

/** Where whole packets end that keep to the limits, by MQTT 3.1.1, 2.2.3: another reader than the guard's. */
function packetEnds(bytes: Uint8Array): number[] {
  const ends: number[] = [];
  for (let at = 0; ; ) {
    if (ends.length === 0 && at < bytes.length && bytes[at] !== 0x10) return ends;
    let length = 0;
    let header = 1;
    for (let more = true; more; header++) {
      const byte = bytes[at + header];
      if (byte === undefined || header > 4) return ends;
      length += (byte & 127) << (7 * (header - 1));
      more = byte >= 128;
    }
    const most = ends.length === 0 ? LIMITS.maxConnectBytes : LIMITS.maxPacketBytes;
    if (header + length > most || at + header + length > bytes.length) return ends;
    at += header + length;
    ends.push(at);
  }
}

/** The first byte says how long the pieces are in which the others come. */
export const packetTarget: Target = {
  name: "packet-guard",
  seeds: [
    Uint8Array.from([3, ...connect, ...publish(5), ...publish(150), 0xc0, 0, 0xe0, 0]),
    Uint8Array.from([1, ...connect, ...publish(300)]),
    Uint8Array.from([200, ...connect, 0x32, 0xff, 0xff, 0xff, 0x7f]),
    Uint8Array.from([9, 0x30, 2, 0, 0]),
  ],
  words: [Uint8Array.of(0x10), Uint8Array.of(0xff, 0xff, 0xff, 0xff, 1), Uint8Array.from(connect), Uint8Array.of(0x80, 0x80, 0x80, 0)],
  codes: [],
  take: (input) => {
    const bytes = input.subarray(1);
    const whole = scanned(bytes, bytes.length + 1);
    const cut = scanned(bytes, 1 + (input[0] ?? 0));
    must(whole.offence === cut.offence && whole.sawConnect === cut.sawConnect, "the verdict depends on how the bytes are cut");
    const ends = packetEnds(bytes);
    must(
      ends.every((end) => whole.ends.includes(end)),
      "a packet that keeps to the limits does not end where it should",
    );
    must(whole.sawConnect === ends.length > 0, "a CONNECT is seen where none is whole");
    return whole;
  },
};
