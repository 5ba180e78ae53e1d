import { PipelineError } from "@smile/errors/pipeline-error";
import avro from "avsc";
import { AvroReader } from "./avro-reader.ts";

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

/** Most items of an array: a part has at least one of a ciphertext's lanes, which are at most N = 4096, and a head far fewer outputs. */
export const MAX_ITEMS = 4096;

type ArrayReader = { readonly itemsType: { _read(reader: AvroReader): unknown }; _write(tap: object, items: unknown): void };

/** An array that believes no declared length: avsc itself makes as many items as the message claims, empty ones from a byte each. */
class BoundedArray extends (avro.types.ArrayType as unknown as new (schema: object, options: object) => ArrayReader) {
  _read(reader: AvroReader): unknown[] {
    const items: unknown[] = [];
    for (let n = reader.readLong(); n !== 0; n = reader.readLong()) {
      if (n < 0) {
        n = -n;
        reader.skipLong(); // the block's size in bytes
      }
      if (n > MAX_ITEMS - items.length) throw new RangeError(`an array has more than ${MAX_ITEMS} items`);
      for (; n > 0; n--) items.push(this.itemsType._read(reader));
    }
    return items;
  }

  override _write(tap: object, items: unknown): void {
    if (Array.isArray(items) && items.length > MAX_ITEMS) throw new RangeError(`an array has more than ${MAX_ITEMS} items`);
    super._write(tap, items);
  }
}

const options = {
  logicalTypes: { "hex-hash": HexHash, "byte-view": ByteView },
  typeHook: (schema: avro.Schema, opts: object) =>
    typeof schema === "object" && "type" in schema && schema.type === "array"
      ? (new BoundedArray(schema, opts) as unknown as avro.Type)
      : undefined,
};

/** An Avro type with hashes, byte views and bounded arrays as envelopes have them. */
export function avroType(schema: object): avro.Type {
  return avro.Type.forSchema(schema as avro.Schema, { ...options });
}

/** One kind of envelope on the wire: a letter, a version byte, then the Avro body in that version's schema. */
export type EnvelopeCodec<T> = {
  /** Versions that `decode` reads, ascending. */
  readonly versions: readonly number[];
  /** @param version one of `versions`; default the newest. Fields that an older one does not have are left out */
  encode(value: T, version?: number): Buffer;
  /** Whether the bytes say that they are of this kind, by their letter alone. */
  claims(bytes: Uint8Array): boolean;
  /** @throws {PipelineError} FRAME_MALFORMED when the bytes are no envelope of this kind in a known version */
  decode(bytes: Uint8Array): T;
  /** As `decode`, but byte strings are views of `bytes`: for a look at a message that is not kept. */
  view(bytes: Uint8Array): T;
};

/** One version of an envelope: its Avro schema, and how what it holds becomes the newest version's value. */
export type EnvelopeVersion<T> = { readonly schema: object; readonly upgrade?: (old: T) => T };

/**
 * @param letter one ASCII character that names the kind
 * @param versions oldest first, version 1 at index 0; every one stays readable, the last one is written unless the reader is known to
 *   need another
 */
export function envelopeCodec<T>(letter: string, versions: readonly EnvelopeVersion<T>[]): EnvelopeCodec<T> {
  const types = versions.map(({ schema }) => avroType(schema));
  const kind = letter.charCodeAt(0);
  const heads = types.map((_, i) => Buffer.from([kind, i + 1]));
  return {
    versions: types.map((_, i) => i + 1),
    claims: (bytes) => bytes[0] === kind,
    encode(value, version = types.length) {
      const type = types[version - 1];
      if (type === undefined) throw new RangeError(`kind ${letter} has no version ${version}`);
      return encodeBehind(heads[version - 1]!, type, value);
    },
    decode: (bytes) => decode(bytes, true),
    view: (bytes) => decode(bytes, false),
  };

  function decode(bytes: Uint8Array, copies: boolean): T {
    const version = bytes[1] ?? 0;
    if (bytes[0] !== kind || version < 1 || version > types.length) {
      throw new PipelineError("FRAME_MALFORMED", `these bytes are no envelope of kind ${letter} in a version from 1 to ${types.length}`, {
        length: bytes.length,
      });
    }
    try {
      const value = read<T>(types[version - 1]!, bytes.subarray(2), copies);
      return versions[version - 1]!.upgrade?.(value) ?? value;
    } catch (error) {
      throw new PipelineError(
        "FRAME_MALFORMED",
        `the envelope of kind ${letter} does not follow its schema`,
        { length: bytes.length, version },
        error,
      );
    }
  }
}

/** What everything is written into first: longer than any frame. avsc's own starts with 1 KiB and writes what is longer twice. */
let scratch = Buffer.allocUnsafeSlow(128 * 1024);

/**
 * A head and the value's binary form behind it, in a buffer of just that length.
 * @throws {Error} when the value does not follow the type
 */
export function encodeBehind(head: Uint8Array, type: avro.Type, value: unknown): Buffer {
  scratch.set(head);
  let end = type.encode(value, scratch, head.length);
  if (end < 0) {
    // What is missing. Kept: more of that length will come.
    scratch = Buffer.allocUnsafeSlow(2 * (scratch.length - end));
    scratch.set(head);
    end = type.encode(value, scratch, head.length);
  }
  return Buffer.from(scratch.subarray(0, end));
}

/** @throws whatever shows that the body does not follow the type */
function read<T>(type: avro.Type, body: Uint8Array, copies: boolean): T {
  const reader = new AvroReader(body, copies);
  const value = (type as unknown as { _read(reader: AvroReader): T })._read(reader);
  if (reader.pos !== body.length) throw new RangeError("bytes follow the envelope");
  return value;
}
