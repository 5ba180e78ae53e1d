import { createHash, hash } from "node:crypto";

const headLength = 64;

/** A value of 8 to 40 KB that depends on its name only and tells whether every byte of it is there. */
export function selfProving(name: string): Uint8Array {
  const head = Buffer.alloc(headLength);
  head.write(name);
  const seed = hash("sha256", name, "buffer");
  const body = Buffer.alloc(8192 + (seed.readUInt16LE(0) % 32_768));
  for (let at = 0; at < body.length; at += seed.length) seed.copy(body, at);
  const digest = createHash("sha256").update(head).update(body).digest();
  return Buffer.concat([head, body, digest]);
}

/** The name of a whole value; undefined for a torn one. */
export function proofOf(value: Uint8Array): string | undefined {
  const whole = createHash("sha256").update(value.subarray(0, -32)).digest();
  if (!whole.equals(value.subarray(-32))) return undefined;
  return Buffer.from(value.subarray(0, headLength)).toString("utf8").replace(/\0+$/, "");
}
