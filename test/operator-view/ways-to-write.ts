import { createPrivateKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { deflateSync, gzipSync } from "node:zlib";
import { readKeystore } from "@smile/custody/keystore";
import { plantPaths } from "@smile/custody/plant/paths";
import { IDENTITY_KEY } from "@smile/he/identity-backend";
import { packLanes } from "@smile/he/lanes";
import { openEncryptor } from "@smile/he/open";
import { paramsFromDocument } from "@smile/schemas/params-document";
import { toNdjson } from "@smile/simulators/ndjson";
import type { Dice } from "../fuzz/mutate.ts";
import { pick } from "../hostile/case.ts";
import { SEAL_HEADER_BYTES, secretCoefficients } from "./key-sentinels.ts";
import { PASSPHRASE } from "./plant.ts";
import type { Run } from "./run.ts";
import { FEATURES, GATEWAYS, MACHINES } from "./telemetry.ts";
import { FEATURE_RUN } from "./telemetry-sentinels.ts";

/** A way in which somebody may write down what the operator must not have; made without the code that looks for it. */
export type Way = { readonly kind: string; readonly way: string; readonly write: (dice: Dice) => Buffer };

type Numbers = ArrayLike<number>;
const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView) => Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength);
/** What a machine of the other byte order has in its memory. */
const swapped = (view: NodeJS.TypedArray) => {
  const bytes = Buffer.from(bytesOf(view));
  return { 2: () => bytes.swap16(), 4: () => bytes.swap32(), 8: () => bytes.swap64() }[view.BYTES_PER_ELEMENT as 2 | 4 | 8]();
};
const json = (value: unknown) => Buffer.from(JSON.stringify({ level: 20, value, msg: "debug" }));

const INTEGERS: Record<string, (numbers: Numbers) => Buffer> = {
  Int16Array: (numbers) => bytesOf(Int16Array.from(numbers)),
  "Int16Array, swapped": (numbers) => swapped(Int16Array.from(numbers)),
  ...words(),
};

function words(): Record<string, (numbers: Numbers) => Buffer> {
  return {
    Int32Array: (numbers) => bytesOf(Int32Array.from(numbers)),
    "Int32Array, swapped": (numbers) => swapped(Int32Array.from(numbers)),
    BigInt64Array: (numbers) => bytesOf(BigInt64Array.from(Array.from(numbers, BigInt))),
    "BigInt64Array, swapped": (numbers) => swapped(BigInt64Array.from(Array.from(numbers, BigInt))),
    Float32Array: (numbers) => bytesOf(Float32Array.from(numbers)),
    "Float32Array, swapped": (numbers) => swapped(Float32Array.from(numbers)),
    Float64Array: (numbers) => bytesOf(Float64Array.from(numbers)),
    "Float64Array, swapped": (numbers) => swapped(Float64Array.from(numbers)),
  };
}

const DOUBLES: Record<string, (value: number) => Buffer> = {
  float64: (value) => bytesOf(Float64Array.of(value)),
  "float64, swapped": (value) => swapped(Float64Array.of(value)),
  JSON: (value) => json({ value }),
  "without decimals": (value) => Buffer.from(value.toFixed(0)),
  "with one decimal": (value) => Buffer.from(value.toFixed(1)),
  "with three decimals": (value) => Buffer.from(value.toFixed(3)),
  "in 13 digits": (value) => Buffer.from(value.toPrecision(13)),
  "in 17 digits": (value) => Buffer.from(value.toPrecision(17)),
  "with an exponent": (value) => Buffer.from(value.toExponential()),
  "with an exponent, in 12 digits": (value) => Buffer.from(value.toExponential(11)),
};

function telemetryWays({ telemetry: { rows, windows, lifted } }: Run): Way[] {
  const allRows = [...rows.values()].flat();
  const row = (dice: Dice) => pick(allRows, dice);
  const value = (dice: Dice) => pick(Object.values(row(dice).values), dice);
  const allWindows = [...windows.values()].flat();
  const features = (dice: Dice) => {
    const length = FEATURE_RUN + dice(FEATURES - FEATURE_RUN + 1);
    const from = dice(FEATURES - length + 1);
    return pick(allWindows, dice).features.slice(from, from + length);
  };
  return [
    { kind: "machine name", way: "text", write: (dice) => Buffer.from(pick(MACHINES[pick(GATEWAYS, dice)], dice)) },
    { kind: "machine name", way: "row", write: (dice) => Buffer.from(toNdjson(row(dice))) },
    ...Object.entries(DOUBLES).map(([way, write]) => ({ kind: "sensor value", way, write: (dice: Dice) => write(value(dice)) })),
    ...["Float32Array", "Float32Array, swapped"].map((way) => ({
      kind: "sensor value",
      way,
      write: (dice: Dice) => INTEGERS[way]!(Object.values(row(dice).values)),
    })),
    { kind: "lifted value", way: "Float64Array", write: (dice) => bytesOf(pick(lifted, dice)) },
    { kind: "lifted value", way: "Float32Array", write: (dice) => bytesOf(Float32Array.from(pick(lifted, dice))) },
    { kind: "lifted value", way: "JSON", write: (dice) => json([...pick(lifted, dice)]) },
    { kind: "features", way: "Int8Array", write: (dice) => bytesOf(Int8Array.from(features(dice))) },
    { kind: "features", way: "JSON of an array", write: (dice) => json([...features(dice)]) },
    { kind: "features", way: "JSON of a typed array", write: (dice) => json(features(dice)) },
    { kind: "features", way: "text", write: (dice) => Buffer.from(features(dice).join(" ")) },
    ...Object.entries(INTEGERS).map(([way, write]) => ({ kind: "features", way, write: (dice: Dice) => write(features(dice)) })),
  ];
}

/** A frame of one window as the scheme makes it that does not encrypt. */
async function plainFrameWays({ telemetry: { windows }, deployed }: Run): Promise<Way[]> {
  const params = { ...paramsFromDocument(deployed.deployment.params), scheme: "identity" as const };
  using encryptor = await openEncryptor(params, { mode: "public", bytes: IDENTITY_KEY });
  const frames = [...windows.values()].flat().map(({ features }, lane) => {
    return Buffer.from(encryptor.encrypt(packLanes([{ lane, features }], params.n, FEATURES)));
  });
  return [{ kind: "features", way: "frame that is not encrypted", write: (dice) => pick(frames, dice) }];
}

function riskWays({ risks }: Run): Way[] {
  const risk = (dice: Dice) => pick(risks, dice);
  const ofMachine = (dice: Dice) => {
    const { machine } = risk(dice);
    const series = risks.filter((each) => each.machine === machine).toSorted((a, b) => a.frameTimeMs - b.frameTimeMs);
    const from = dice(series.length - 2);
    return series.slice(from, from + 3 + dice(3));
  };
  return [
    { kind: "score", way: "JSON", write: (dice) => json({ score: risk(dice).score }) },
    { kind: "score", way: "text", write: (dice) => Buffer.from(` ${risk(dice).score}i`) },
    ...Object.entries(words()).map(([way, write]) => ({
      kind: "score",
      way,
      write: (dice: Dice) => write(ofMachine(dice).map(({ score }) => score)),
    })),
    ...Object.entries(DOUBLES).map(([way, write]) => ({ kind: "risk", way, write: (dice: Dice) => write(risk(dice).risk) })),
    { kind: "risk", way: "Float32Array", write: (dice) => bytesOf(Float32Array.from(ofMachine(dice).map((each) => each.risk))) },
  ];
}

/** Pieces of 16 bytes, and whole. */
function cut(kind: string, way: string, bytes: Buffer, least = 16): Way[] {
  const piece = (dice: Dice) => {
    const from = dice(bytes.length - least + 1);
    return bytes.subarray(from, from + least);
  };
  return [
    { kind, way: `${way}, whole`, write: () => bytes },
    { kind, way: `${way}, ${least} bytes of it`, write: piece },
  ];
}

async function keyWays({ plantFolder, deployed }: Run): Promise<Way[]> {
  const paths = plantPaths(plantFolder);
  const { secretKey } = (await readKeystore(paths.keystore, PASSPHRASE)).keys[0]!;
  const polynomial = Buffer.from(secretKey, "base64");
  const ternary = Int8Array.from(await secretCoefficients(polynomial, paramsFromDocument(deployed.deployment.params)));
  const coefficients = bytesOf(ternary);
  const key = readFileSync(join(paths.console, "key.pem"), "utf8");
  const { secretKey: signing } = JSON.parse(readFileSync(join(paths.gateway("hall-1"), "signing-key.json"), "utf8")) as {
    secretKey: string;
  };
  const seed = Buffer.from(
    createPrivateKey({ key: Buffer.from(signing, "base64"), format: "der", type: "pkcs8" }).export({ format: "jwk" }).d!,
    "base64url",
  );
  return [
    { kind: "passphrase", way: "text", write: () => Buffer.from(PASSPHRASE) },
    { kind: "HE secret key", way: "whole, in base64", write: () => Buffer.from(secretKey) },
    ...cut("HE secret key", "as SEAL has it", polynomial.subarray(SEAL_HEADER_BYTES)),
    ...cut("HE secret key", "coefficients as bytes", coefficients, 24),
    { kind: "HE secret key", way: "coefficients as JSON", write: () => json([...ternary.subarray(100, 200)]) },
    { kind: "HE secret key", way: "coefficients as BigInt64Array", write: () => INTEGERS.BigInt64Array!(ternary.subarray(7, 60)) },
    { kind: "TLS key of the console", way: "PEM", write: () => Buffer.from(key) },
    { kind: "TLS key of the console", way: "PEM in JSON", write: () => json({ key }) },
    { kind: "signing key of hall-1", way: "base64 of PKCS #8", write: () => Buffer.from(signing) },
    { kind: "signing key of hall-1", way: "byte list", write: () => json(seed) },
    ...cut("signing key of hall-1", "seed", seed),
    { kind: "sealed keystore", way: "its file", write: () => readFileSync(paths.keystore) },
    { kind: "sealed secrets", way: "its file", write: () => readFileSync(paths.secrets) },
  ];
}

export async function waysToWrite(run: Run): Promise<Way[]> {
  return [...telemetryWays(run), ...(await plainFrameWays(run)), ...riskWays(run), ...(await keyWays(run))];
}

/** What may be around it. */
export const WRAPPERS: Record<string, (bytes: Buffer) => Buffer> = {
  nothing: (bytes) => bytes,
  base64: (bytes) => Buffer.from(bytes.toString("base64")),
  base64url: (bytes) => Buffer.from(bytes.toString("base64url")),
  "base64 in lines": (bytes) => Buffer.from(bytes.toString("base64").replaceAll(/.{64}/g, "$&\n")),
  hex: (bytes) => Buffer.from(bytes.toString("hex")),
  "upper-case hex": (bytes) => Buffer.from(bytes.toString("hex").toUpperCase()),
  "hex with colons": (bytes) => Buffer.from(bytes.toString("hex").replaceAll(/..(?!$)/g, "$&:")),
  "JSON of a Buffer": (bytes) => Buffer.from(JSON.stringify(bytes)),
  "JSON of a Uint8Array": (bytes) => Buffer.from(JSON.stringify(Uint8Array.from(bytes))),
  gzip: (bytes) => gzipSync(bytes),
  zlib: (bytes) => deflateSync(bytes),
};

/** For what is text. */
export const TEXT_WRAPPERS: Record<string, (bytes: Buffer) => Buffer> = {
  "UTF-16": (bytes) => Buffer.from(bytes.toString("latin1"), "utf16le"),
  "UTF-16, big endian": (bytes) => Buffer.from(bytes.toString("latin1"), "utf16le").swap16(),
};
