import { PipelineError } from "@smile/errors/pipeline-error";
import avro from "avsc";

/** A 32-byte hash as 64 hexadecimal digits in the program and 32 bytes on the wire. */
class HexHash extends avro.types.LogicalType {
  override _fromValue(bytes: Buffer): string {
    return bytes.toString("hex");
  }
  override _toValue(text: unknown): Buffer | undefined {
    return typeof text === "string" && /^[0-9a-f]{64}$/.test(text) ? Buffer.from(text, "hex") : undefined;
  }
}

/** Bytes from anywhere: avsc itself takes Buffers only, node-seal and typed arrays give none. Nothing is copied. */
class ByteView extends avro.types.LogicalType {
  override _fromValue(bytes: Buffer): Uint8Array {
    return bytes;
  }
  override _toValue(bytes: unknown): Buffer | undefined {
    return bytes instanceof Uint8Array ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length) : undefined;
  }
}

/** One kind of envelope on the wire: a letter, a version byte, then the Avro body in that version's schema. */
export type EnvelopeCodec<T> = {
  encode(value: T): Buffer;
  /** @throws {PipelineError} FRAME_MALFORMED when the bytes are no envelope of this kind in a known version */
  decode(bytes: Uint8Array): T;
};

/**
 * @param letter one ASCII character that names the kind
 * @param versions Avro schemas, oldest first, version 1 at index 0; every one stays readable, the last one is written
 */
export function envelopeCodec<T>(letter: string, versions: readonly object[]): EnvelopeCodec<T> {
  const types = versions.map((schema) =>
    avro.Type.forSchema(schema as avro.Schema, { logicalTypes: { "hex-hash": HexHash, "byte-view": ByteView } }),
  );
  const newest = types.at(-1);
  if (newest === undefined) throw new RangeError("a codec needs at least one version");
  const readers = types.map((type) => (type === newest ? undefined : newest.createResolver(type)));
  const head = Buffer.from([letter.charCodeAt(0), versions.length]);
  return {
    encode: (value) => Buffer.concat([head, newest.toBuffer(value)]),
    decode(bytes) {
      const version = bytes[1] ?? 0;
      if (bytes[0] !== head[0] || version < 1 || version > types.length) {
        throw new PipelineError("FRAME_MALFORMED", `these bytes are no envelope of kind ${letter} in a version from 1 to ${types.length}`, {
          length: bytes.length,
        });
      }
      const body = Buffer.from(bytes.buffer, bytes.byteOffset + 2, bytes.length - 2);
      try {
        const resolver = readers[version - 1];
        return (resolver ? newest.fromBuffer(body, resolver) : newest.fromBuffer(body)) as T;
      } catch (error) {
        throw new PipelineError(
          "FRAME_MALFORMED",
          `the envelope of kind ${letter} does not follow its schema`,
          { length: bytes.length, version },
          error,
        );
      }
    },
  };
}
