/**
 * Kafka's Metadata request in version 10, the first that tells a topic's id (KIP-516): its body and the part of its answer that holds
 * the id. Pure: bytes in, bytes out. Format: `MetadataRequest.json`, `MetadataResponse.json` of Kafka's clients, flexible versions
 * as KIP-482 has them (lengths as unsigned varints of length + 1, 0 for null, and a list of tagged fields at each end).
 */
export const metadataRequest = { apiKey: 3, apiVersion: 10, apiName: "Metadata" } as const;

/** Includes the tagged fields that end the request's header of version 2. */
export function encodeTopicIdRequest(topic: string): Buffer {
  const name = Buffer.from(topic);
  const noTags = Buffer.of(0);
  const anyId = Buffer.alloc(16);
  const oneTopic = unsignedVarint(1 + 1);
  // allow_auto_topic_creation, include_cluster_authorized_operations, include_topic_authorized_operations
  const flags = Buffer.of(0, 0, 0);
  return Buffer.concat([noTags, oneTopic, anyId, unsignedVarint(name.length + 1), name, noTags, flags, noTags]);
}

/** @returns the topic's id in URL-safe base64, 22 characters, as Kafka's own tools print it; undefined when the broker has no such topic */
export function decodeTopicId(payload: Buffer): string | undefined {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = payload.readUInt8(at++);
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  };
  const skip = (bytes: number) => {
    at += bytes;
  };
  const skipText = () => skip(Math.max(0, varint() - 1));
  const skipTags = () => {
    for (let left = varint(); left > 0; left--) {
      varint();
      skip(varint());
    }
  };
  skipTags(); // of the answer's header
  skip(4); // throttle_time_ms
  for (let brokers = varint() - 1; brokers > 0; brokers--) {
    skip(4); // node_id
    skipText(); // host
    skip(4); // port
    skipText(); // rack
    skipTags();
  }
  skipText(); // cluster_id
  skip(4); // controller_id
  if (varint() - 1 < 1) return undefined;
  const errorCode = payload.readInt16BE(at);
  skip(2);
  skipText(); // name
  return errorCode === 0 ? payload.subarray(at, at + 16).toString("base64url") : undefined;
}

function unsignedVarint(value: number): Buffer {
  const bytes: number[] = [];
  let left = value;
  for (; left >= 0x80; left = Math.floor(left / 0x80)) bytes.push((left % 0x80) + 0x80);
  return Buffer.from([...bytes, left]);
}
