/** MQTT 3.1.1 packets as bytes, also such as no client sends. */

/** Control packet types with the flags that they must have. */
export const CONNECT = 0x10;
export const PUBLISH = 0x30;
export const PUBACK = 0x40;
export const SUBSCRIBE = 0x82;
export const UNSUBSCRIBE = 0xa2;
export const PINGREQ = Buffer.of(0xc0, 0);

export function text(value: string | Uint8Array): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.of(bytes.length >> 8, bytes.length & 0xff), bytes]);
}

/** @param declared what the header says is the length; the body's own by default */
export function packet(header: number, body: Uint8Array, declared = body.length): Buffer {
  const length: number[] = [];
  for (let left = declared; ; left >>= 7) {
    length.push((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
    if (left <= 0x7f) break;
  }
  return Buffer.concat([Buffer.of(header, ...length), body]);
}

export type Will = { readonly topic: string; readonly payload: Uint8Array; readonly qos: number };

export function connect(clientId: string, options: { will?: Will; level?: number; name?: string; keepalive?: number } = {}): Buffer {
  const { will, level = 4, name = "MQTT", keepalive = 60 } = options;
  const flags = 2 | (will === undefined ? 0 : 4 | (will.qos << 3));
  const last = will === undefined ? [] : [text(will.topic), text(will.payload)];
  return packet(CONNECT, Buffer.concat([text(name), Buffer.of(level, flags, keepalive >> 8, keepalive & 0xff), text(clientId), ...last]));
}

export function publish(topic: string | Uint8Array, payload: Uint8Array, { qos = 1, retain = false } = {}): Buffer {
  const id = qos === 0 ? [] : [Buffer.of(0, 7)];
  return packet(PUBLISH | (qos << 1) | (retain ? 1 : 0), Buffer.concat([text(topic), ...id, payload]));
}

export function subscribe(filters: readonly string[]): Buffer {
  return packet(SUBSCRIBE, Buffer.concat([Buffer.of(0, 9), ...filters.map((filter) => Buffer.concat([text(filter), Buffer.of(1)]))]));
}
