import { ed25519Key, hash, timeMs } from "@smile/schemas/document-fields";
import { NAME } from "@smile/schemas/topics";
import { z } from "zod";

const name = z.string().regex(NAME, "must be 1 to 64 letters, digits, dots, dashes or underscores");

/** What a gateway or a console shows the service. `next`: registered, but not handed over yet. */
const credential = {
  /** null for a plant without TLS, or while an authority that is not ours has still to issue it. */
  certificateHash: hash.nullable(),
  certificateEndsMs: timeMs.nullable(),
  state: z.enum(["next", "active", "retiring", "revoked"]),
  /** Of a retiring one: until when it counts. */
  untilMs: timeMs.nullable(),
};

/** plant.json: what a plant knows of itself, but for its secrets. Private, since it names machines. */
export const PlantDocument = z.strictObject({
  kind: z.literal("plant"),
  version: z.literal(1),
  plant: name,
  /** Of the newest register. */
  serial: z.number().int().min(0),
  identity: ed25519Key,
  /** Whether gateways and consoles have certificates. */
  tls: z.boolean(),
  /** PEM: whom certificates come from; several where one takes the place of another. */
  certificateAuthority: z.string().max(16_384).nullable(),
  consoles: z.array(z.strictObject({ console: name, credentials: z.array(z.strictObject(credential)) })),
  gateways: z.array(
    z.strictObject({
      gateway: name,
      /** Global lane of the first machine; one lane for each. */
      firstLane: z.number().int().min(0),
      /** Empty for a gateway of records. */
      machines: z.array(z.string().min(1)),
      /** Of a gateway of records: how many lanes it has, from `firstLane` on, which begins a ciphertext. */
      recordLanes: z.number().int().min(1).exactOptional(),
      credentials: z.array(z.strictObject({ signingKey: ed25519Key, ...credential })).min(1),
    }),
  ),
  /** The keystore's keys, without what is secret. */
  keys: z.array(
    z.strictObject({
      keyEpoch: z.number().int().min(1),
      gateway: name.nullable(),
      paramsId: hash,
      keyId: hash,
      state: z.enum(["next", "active", "retiring"]),
      /** Of a retiring key: until when the service takes windows under it, and until when the console opens their scores. */
      acceptedUntilMs: timeMs.nullable(),
      untilMs: timeMs.nullable(),
    }),
  ),
});
export type PlantDocument = z.infer<typeof PlantDocument>;
export type GatewayEntry = PlantDocument["gateways"][number];
export type Credential = PlantDocument["consoles"][number]["credentials"][number];

/** secrets.json, sealed. */
export const PlantSecrets = z.strictObject({
  kind: z.literal("plant-secrets"),
  version: z.literal(1),
  plant: name,
  /** Ed25519, base64 of PKCS #8. */
  identityKey: z.base64(),
  /** PEM; null for a plant without TLS, or with an authority of its own elsewhere. */
  authority: z.strictObject({ certificate: z.string(), key: z.string() }).nullable(),
});
export type PlantSecrets = z.infer<typeof PlantSecrets>;

/** How many global lanes a gateway has. */
export function leasedLanes({ machines, recordLanes }: Pick<GatewayEntry, "machines" | "recordLanes">): number {
  return recordLanes ?? machines.length;
}

/** Whether the gateway may still send. */
export function isInService({ credentials }: GatewayEntry): boolean {
  return credentials.some(({ state }) => state !== "revoked");
}
