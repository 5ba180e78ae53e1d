import type { KeyObject } from "node:crypto";
import { hash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { zstdCompressSync } from "node:zlib";
import { type Batch, batchCodec, type Frame, frameCodec, type Gap, gapCodec, type Score, scoreCodec } from "@smile/schemas/envelopes";
import type { PlantRegister } from "@smile/schemas/plant-register";
import { signFrame, signGap, signScore } from "@smile/schemas/signing";

const FOLDER = join(import.meta.dirname, "kept");

/**
 * A case that did harm once, as a file says it. Keys and ids are other ones in every run, so what is kept is what is wrong with it: raw
 * bytes, or the fields that differ from a good envelope's. Bytes in fields are written {"base64": ...}, {"zeros": n} or {"zstdZeros": n};
 * {"times": n, "item": ...} is an array.
 */
export type KeptCase = {
  /** What it did. */
  readonly what: string;
  /**
   * "delivered gap": at the console, by the operator's broker, where it differs from one that the plant has. "register": in the place of the
   * first plant's, where it differs from that one.
   */
  readonly to: "frame" | "gap" | "batch" | "score" | "delivered gap" | "register";
  readonly bytes?: string;
  readonly change?: Readonly<Record<string, unknown>>;
};

export function keptCases(): (KeptCase & { readonly name: string })[] {
  return readdirSync(FOLDER)
    .filter((file) => file.endsWith(".json"))
    .sort()
    .map((name) => ({ name, ...(JSON.parse(readFileSync(join(FOLDER, name), "utf8")) as KeptCase) }));
}

/** The good envelopes that kept cases differ from, and the keys that sign what has been changed. */
export type Originals = {
  readonly frame: Omit<Frame, "signature">;
  readonly gap: Omit<Gap, "signature">;
  /** One that the gateway has sent. */
  readonly honestGap: Gap;
  readonly batch: Batch;
  readonly score: Score;
  readonly register: PlantRegister;
  readonly gatewayKey: KeyObject;
  readonly scoreKey: KeyObject;
};

/** The envelope that a case comes to; ciphertexts have their true hash unless the case names another. */
export function revive(
  { to, bytes, change = {} }: KeptCase,
  { frame, gap, honestGap, batch, score, register, gatewayKey, scoreKey }: Originals,
): Uint8Array {
  if (bytes !== undefined) return Buffer.from(bytes, "base64");
  const fields = Object.fromEntries(Object.entries(change).map(([name, value]) => [name, fieldOf(value)]));
  const { ciphertext } = fields;
  const hashed = ciphertext instanceof Uint8Array ? { ciphertextHash: hash("sha256", ciphertext), ...fields } : fields;
  if (to === "frame") return frameCodec.encode({ ...signFrame({ ...frame, ...hashed }, gatewayKey), ...only("signature", fields) });
  if (to === "gap") return gapCodec.encode({ ...signGap({ ...gap, ...fields }, gatewayKey), ...only("signature", fields) });
  if (to === "register") return Buffer.from(JSON.stringify({ ...register, ...fields }));
  if (to === "delivered gap") return gapCodec.encode(signGap({ ...honestGap, ...fields }, gatewayKey));
  if (to === "batch") return batchCodec.encode({ ...batch, ...hashed });
  return scoreCodec.encode({ ...signScore({ ...score, ...fields }, scoreKey), ...only("signature", fields) });
}

function only(name: string, fields: Readonly<Record<string, unknown>>): object {
  return name in fields ? { [name]: fields[name] } : {};
}

function fieldOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(fieldOf);
  if (typeof value !== "object" || value === null) return value;
  if ("base64" in value) return Buffer.from(String(value.base64), "base64");
  if ("zeros" in value) return new Uint8Array(Number(value.zeros));
  if ("times" in value && "item" in value) return Array.from({ length: Number(value.times) }, () => value.item);
  if ("zstdZeros" in value) return zstdCompressSync(new Uint8Array(Number(value.zstdZeros)));
  return value;
}
