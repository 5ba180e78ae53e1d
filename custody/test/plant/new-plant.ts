import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { frameCodec, gapCodec } from "@smile/schemas/envelopes";
import { openRegister } from "@smile/schemas/plant-register";
import type { AnyDeployment } from "@smile/schemas/record-documents";
import { RegisteredPlant } from "@smile/schemas/registered-plant";
import type { ServiceDocument } from "@smile/schemas/service-document";
import { newSigningKey } from "@smile/schemas/signing-key";
import { smallDeployment } from "../../../test/support/small-deployment.ts";
import { initPlant } from "../../src/plant/init-plant.ts";
import type { PlantAccess } from "../../src/plant/open-plant.ts";

export const DAY_MS = 86_400_000;
export const START_MS = Date.UTC(2027, 0, 1);
const days = 730;

export type NewPlant = Disposable & {
  readonly folder: string;
  /** Beside the plant's folder. */
  readonly outside: string;
  readonly identityHash: string;
  /** The plant at a time: days after it was made. */
  at(day: number): PlantAccess;
  /** Its register, verified. */
  registered(): RegisteredPlant;
  json<T = Record<string, unknown>>(...path: string[]): T;
};

/** A plant in a folder of its own, of a deployment whose scheme encrypts. */
export async function newPlant(
  options: {
    keyMode?: "public" | "symmetric";
    tls?: boolean;
    authority?: string;
    service?: Partial<ServiceDocument> | null;
    /** Default: a small one for machines. */
    deployment?: AnyDeployment;
  } = {},
): Promise<NewPlant> {
  const { keyMode = "public", tls = true, authority, service = {} } = options;
  using small = await smallDeployment({ scheme: "bgv", keyMode });
  const outside = mkdtempSync(join(tmpdir(), "smile-plant-"));
  const folder = join(outside, "north");
  const write = (name: string, text: string) => {
    writeFileSync(join(outside, name), text);
    return join(outside, name);
  };
  const at = (day: number): PlantAccess => ({
    folder,
    passphrase: "nine winter geese",
    env: {},
    nowMs: START_MS + day * DAY_MS,
    cost: 2 ** 10,
  });
  const made = await initPlant(at(0), {
    plant: "north",
    deployment: write("deployment.json", JSON.stringify(options.deployment ?? small.deployed.deployment)),
    service: service === null ? undefined : write("service.json", JSON.stringify(serviceDocument({ ...(tls ? {} : local), ...service }))),
    authority: authority === undefined ? undefined : write("authority.pem", authority),
    tls,
    days,
  });
  const json = <T>(...path: string[]) => JSON.parse(readFileSync(join(folder, ...path), "utf8")) as T;
  return {
    folder,
    outside,
    identityHash: made.identityHash,
    at,
    registered: () => new RegisteredPlant(openRegister(json("register.json"), made.identityHash, "register.json")),
    json,
    [Symbol.dispose]: () => rmSync(outside, { recursive: true, force: true }),
  };
}

const local = { framesUrl: "mqtt://127.0.0.1:1883", scoresUrl: "mqtt://127.0.0.1:1884" };

export function serviceDocument(changes: Partial<ServiceDocument> = {}): ServiceDocument {
  return {
    kind: "service",
    version: 1,
    name: "operator",
    framesUrl: "mqtts://smile.example.org:8883",
    scoresUrl: "mqtts://smile.example.org:8884",
    certificateAuthority: null,
    scoreSigners: [newSigningKey("model service").publicKey],
    reads: { frame: [...frameCodec.versions], gap: [...gapCodec.versions] },
    ...changes,
  };
}
