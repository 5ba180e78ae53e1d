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

/** The part of avsc's reader that an array needs. */
type Tap = { readonly buf: Buffer; readonly pos: number; readLong(): number; skipLong(): void };
type ItemReader = { readonly itemsType: { _read(tap: Tap): unknown } };

/** An array that believes no declared length beyond the bytes that are there: avsc itself makes as many items as the message claims. */
class BoundedArray extends (avro.types.ArrayType as unknown as new (schema: object, options: object) => ItemReader) {
  _read(tap: Tap): unknown[] {
    const items: unknown[] = [];
    for (let n = tap.readLong(); n !== 0; n = tap.readLong()) {
      if (n < 0) {
        n = -n;
        tap.skipLong();
      }
      for (; n > 0; n--) {
        // Every item takes a byte at least.
        if (n > tap.buf.length - tap.pos) throw new RangeError("an array claims more items than there are bytes");
        items.push(this.itemsType._read(tap));
      }
    }
    return items;
  }
}

const options = {
  logicalTypes: { "hex-hash": HexHash, "byte-view": ByteView },
  typeHook: (schema: avro.Schema, opts: object) =>
    typeof schema === "object" && "type" in schema && schema.type === "array"
      ? (new BoundedArray(schema, opts) as unknown as avro.Type)
      : undefined,
};

/** One kind of envelope on the wire: a letter, a version byte, then the Avro body in that version's schema. */
export type EnvelopeCodec<T> = {
  encode(value: T): Buffer;
  /** Whether the bytes say that they are of this kind, by their letter alone. */
  claims(bytes: Uint8Array): boolean;
  /** @throws {PipelineError} FRAME_MALFORMED when the bytes are no envelope of this kind in a known version */
  decode(bytes: Uint8Array): T;
};

/**
 * @param letter one ASCII character that names the kind
 * @param versions Avro schemas, oldest first, version 1 at index 0; every one stays readable, the last one is written
 */
export function envelopeCodec<T>(letter: string, versions: readonly object[]): EnvelopeCodec<T> {
  const types = versions.map((schema) => avro.Type.forSchema(schema as avro.Schema, { ...options }));
  const newest = types.at(-1);
  if (newest === undefined) throw new RangeError("a codec needs at least one version");
  const readers = types.map((type) => (type === newest ? undefined : newest.createResolver(type)));
  const head = Buffer.from([letter.charCodeAt(0), versions.length]);
  return {
    claims: (bytes) => bytes[0] === head[0],
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
