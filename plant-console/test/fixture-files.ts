import { mkdtempSync, renameSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Keystore, writeKeystore } from "@smile/custody/keystore";
import { publicHalf } from "@smile/schemas/ed25519";
import { identityHash } from "@smile/schemas/plant-register";
import type { FixturePlant } from "./fixture-plant.ts";

export const PASSPHRASE = "of a fixture";
/** scrypt's least cost: a keystore in 2 ms instead of 320. */
const LEAST_COST = 2 ** 10;

/** The files of a console, in a folder of their own. */
export type FixtureFiles = {
  readonly folder: string;
  readonly config: string;
  readonly keystorePath: string;
  readonly keystore: Keystore;
  readonly storePath: string;
  readonly auditPath: string;
  /** Writes a document in the place of another: readers see the old one or the new one. */
  write(name: string, value: unknown): void;
  /** @param cost scrypt's; by default its least */
  writeKeystore(keystore: Keystore, cost?: number): Promise<void>;
};

/** The keystore behind a fixture plant, its keys active. */
export function keystoreOf(plant: FixturePlant): Keystore {
  const { register } = plant.registration;
  const keys = plant.secretKeys.map(({ gateway, paramsId, keyId, keyEpoch, secretKey }) => ({
    ...{ gateway, paramsId, keyId, keyEpoch },
    publicKey: register.keys.find((key) => key.keyId === keyId)!.publicKey,
    secretKey: Buffer.from(secretKey).toString("base64"),
    createdAtMs: 0,
    state: "active" as const,
    untilMs: null,
  }));
  return { kind: "keystore", version: 2, plant: register.plant, keys, destroyed: [] };
}

/** @param more further keys of the configuration */
export async function writeFixtureFiles(plant: FixturePlant, url: string, more: object = {}): Promise<FixtureFiles> {
  const folder = mkdtempSync(join(tmpdir(), "smile-console-"));
  const at = (name: string) => join(folder, name);
  const { register } = plant.registration;
  const files: FixtureFiles = {
    folder,
    config: at("console.json"),
    keystorePath: at("keystore.json"),
    keystore: keystoreOf(plant),
    storePath: at("risks.db"),
    auditPath: at("audit.db"),
    write(name, value) {
      writeFileSync(at(`${name}.draft`), JSON.stringify(value));
      renameSync(at(`${name}.draft`), at(name));
    },
    writeKeystore: (keystore, cost = LEAST_COST) => writeKeystore(at("keystore.json"), keystore, PASSPHRASE, { replace: true, cost }),
  };
  files.write("deployment.json", plant.deployment);
  files.write("leases.json", plant.leases);
  files.write("register.json", register);
  files.write("service.json", serviceDocument([publicHalf(plant.scoreSigner)]));
  writeFileSync(at("passphrase"), `${PASSPHRASE}\n`, { mode: 0o600 });
  await files.writeKeystore(files.keystore);
  files.write("console.json", {
    plant: register.plant,
    mqtt: { url },
    deployment: "deployment.json",
    keystore: "keystore.json",
    passphraseFile: "passphrase",
    service: "service.json",
    register: "register.json",
    identity: identityHash(register.identity),
    audit: "audit.db",
    leases: "leases.json",
    store: "risks.db",
    resendMs: 200,
    ...more,
  });
  return files;
}

export function serviceDocument(scoreSigners: readonly string[]): object {
  const urls = { framesUrl: "mqtt://127.0.0.1:1883", scoresUrl: "mqtt://127.0.0.1:1884" };
  const reads = { frame: [1], gap: [1] };
  return { kind: "service", version: 1, name: "fixture", ...urls, certificateAuthority: null, scoreSigners, reads };
}
