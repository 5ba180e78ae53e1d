import type { KeyObject } from "node:crypto";
import { readSigningKey } from "@smile/runtime/signing-key-file";
import { type KeyUse, readEncryptionKey } from "./encryption-key.ts";
import type { WindowKey } from "./envelope-sealer.ts";
import { checkSigner, type PlantPin, readRegister } from "./plant-pin.ts";
import type { EdgeAgent } from "./service.ts";
import type { WatchedGroup } from "./watched-files.ts";

/** Where an agent's keys are, and what they must be. */
export type KeyFiles = {
  readonly use: Omit<KeyUse, "register">;
  /** What windows are encrypted with. */
  readonly key: string;
  readonly signingKey: string;
  /** Where given, both keys have to be in force in the plant's register. */
  readonly pin: PlantPin | undefined;
};

/** Names of the files in logs and metrics. */
export const encryptionKeyName = "encryption_key";
export const signingKeyName = "signing_key";

export type AgentKeys = { readonly key: WindowKey; readonly signingKey: KeyObject };

/** @throws {PipelineError} FILE_MISSING, FILE_DAMAGED, DOCUMENT_INVALID, SIGNATURE_INVALID, KEY_MISMATCH, CONFIG_INVALID */
export function readKeys(files: KeyFiles): AgentKeys {
  return { key: readWindowKey(files), signingKey: readOwnKey(files) };
}

/**
 * What to do when the files change while the agent runs. A change of the register is one of both keys: it may end either.
 * @param agent asked for when there is a change, so that files may be looked after from before it starts
 */
export function watchedKeys(files: KeyFiles, agent: () => Pick<EdgeAgent, "useKey" | "useSigningKey">): readonly WatchedGroup[] {
  const register = files.pin === undefined ? [] : [files.pin.path];
  return [
    { name: encryptionKeyName, paths: [files.key, ...register], take: () => agent().useKey(readWindowKey(files)) },
    { name: signingKeyName, paths: [files.signingKey, ...register], take: () => agent().useSigningKey(readOwnKey(files)) },
  ];
}

function readWindowKey({ use, key, pin }: KeyFiles): WindowKey {
  return readEncryptionKey(key, { ...use, register: pin && readRegister(pin, use.plant) });
}

function readOwnKey({ use, signingKey, pin }: KeyFiles): KeyObject {
  const { key } = readSigningKey(signingKey);
  if (pin !== undefined) checkSigner(readRegister(pin, use.plant), use.gateway, key, Date.now());
  return key;
}
