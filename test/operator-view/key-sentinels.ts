import { createPrivateKey } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { openDecryptor } from "@smile/custody/decryptor";
import { type KeystoreKey, readKeystore } from "@smile/custody/keystore";
import { credentialPaths, plantPaths } from "@smile/custody/plant/paths";
import { PlantSecrets } from "@smile/custody/plant/plant-document";
import { readSealed } from "@smile/custody/sealed-file";
import { type Params, residueBits } from "@smile/he/params";
import { pack, setResidue } from "@smile/he/residues";
import { encodeReply } from "@smile/he/wire";
import { readJsonFile } from "@smile/runtime/json-file";
import { SigningKeyDocument } from "@smile/schemas/signing-key";
import { runs, secret, text } from "./forms.ts";
import type { Sentinel } from "./sentinel.ts";

/** Bytes that SEAL writes before the polynomial of a secret key. */
export const SEAL_HEADER_BYTES = 88;

/** Every secret of a plant, out of the files of its folder. */
export async function keySentinels(folder: string, passphrase: string, gateways: readonly string[], params: Params): Promise<Sentinel[]> {
  const paths = plantPaths(folder);
  const secrets = await readSealed(paths.secrets, "plant-secrets", PlantSecrets, passphrase);
  const keystore = await readKeystore(paths.keystore, passphrase);
  const found = [
    text("passphrase", passphrase),
    ...secret("passphrase", Buffer.from(passphrase)),
    ...privateKey("plant identity", Buffer.from(secrets.identityKey, "base64")),
    ...privateKey("key of the plant's authority", secrets.authority!.key),
    ...sealed("sealed secrets", paths.secrets),
    ...sealed("sealed keystore", paths.keystore),
    ...privateKey("TLS key of the console", readFileSync(credentialPaths(paths.console).key, "utf8")),
    ...(await Promise.all(keystore.keys.map((key) => polynomialSentinels(key, params)))).flat(),
  ];
  for (const gateway of gateways) {
    const { key, signingKey } = credentialPaths(paths.gateway(gateway));
    const { secretKey } = SigningKeyDocument.parse(readJsonFile(signingKey, "signing key"));
    found.push(...privateKey(`signing key of ${gateway}`, Buffer.from(secretKey, "base64")));
    if (existsSync(key)) found.push(...privateKey(`TLS key of ${gateway}`, readFileSync(key, "utf8")));
  }
  return found;
}

/** The secret number itself: the bytes around it are the same in every key file. */
export function privateKey(kind: string, key: string | Buffer): Sentinel[] {
  const opened = createPrivateKey(typeof key === "string" ? key : { key, format: "der", type: "pkcs8" });
  return secret(kind, Buffer.from(opened.export({ format: "jwk" }).d!, "base64url"));
}

/** Not even encrypted do they belong anywhere else. */
function sealed(kind: string, path: string): Sentinel[] {
  const { ciphertext } = readJsonFile(path, kind) as { ciphertext: string };
  return secret(kind, Buffer.from(ciphertext, "base64"));
}

/**
 * The secret polynomial as SEAL keeps it, transformed and in words of 64 bits; packed as the wire has it; and its coefficients, which are
 * -1, 0 and 1. Of these a byte tells too little: 24 in a row are looked for as bytes, 16 as words.
 */
async function polynomialSentinels(key: KeystoreKey, params: Params): Promise<Sentinel[]> {
  if (params.scheme !== "bgv") return [];
  const kind = "HE secret key";
  const saved = Buffer.from(key.secretKey, "base64");
  const transformed = saved.subarray(SEAL_HEADER_BYTES);
  const words = new Uint32Array(Uint8Array.from(transformed).buffer);
  const coefficients = await secretCoefficients(saved, params);
  const bits = residueBits(params);
  const asWords = (modulus: bigint) =>
    coefficients.map((s) => {
      const word = Buffer.alloc(8);
      word.writeBigUInt64LE((BigInt(s) + modulus) % modulus);
      return word;
    });
  const residues = new Uint32Array(2 * params.n);
  coefficients.forEach((s, i) => {
    setResidue(residues, i, BigInt(s), params.q);
  });
  const packed = Buffer.from(pack(residues, bits));
  const byEight = Array.from({ length: params.n / 8 }, (_, i) => packed.subarray(i * bits, (i + 1) * bits));
  return [
    ...secret(kind, transformed),
    ...secret(kind, pack(words, bits)),
    ...runs(
      kind,
      "coefficients as bytes",
      coefficients.map((s) => Buffer.from([s & 255])),
      24,
    ),
    ...runs(kind, "coefficients modulo q", asWords(params.q), 16),
    ...runs(kind, "coefficients modulo t", asWords(BigInt(params.t)), 16),
    ...runs(kind, "coefficients as int64", asWords(2n ** 64n), 16),
    ...runs(kind, "packed coefficients", byEight, 2),
    ...[(s: number) => s + 1, (s: number) => s & 3].flatMap((code) => inTwoBits(kind, coefficients.map(code))),
  ];
}

/** Four coefficients in a byte, from either end. */
function inTwoBits(kind: string, codes: readonly number[]): Sentinel[] {
  const shifts = [
    [0, 2, 4, 6],
    [6, 4, 2, 0],
  ];
  return shifts.flatMap((shift) => {
    const bytes = Buffer.alloc(codes.length / 4);
    for (let i = 0; i < codes.length; i++) bytes[i >> 2]! |= codes[i]! << shift[i & 3]!;
    return runs(
      kind,
      "coefficients in two bits",
      Array.from(bytes, (byte) => Buffer.from([byte])),
      12,
    );
  });
}

/** The coefficients of the secret: what a ciphertext (0, 1) decrypts to is 0 + 1 * s. Lanes of one coefficient show all of it. */
export async function secretCoefficients(secretKey: Uint8Array, params: Params): Promise<number[]> {
  using decryptor = await openDecryptor(params, secretKey, 1);
  const one = new Uint32Array(2 * params.n);
  one[0] = 1;
  const lanes = Array.from({ length: params.n }, (_, lane) => lane);
  return decryptor.decrypt(encodeReply(params, { c0: new Uint32Array(2 * params.n), c1: one }, lanes, 1), lanes);
}
