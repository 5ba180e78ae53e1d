import { generateKeyPairSync, hash, type KeyObject } from "node:crypto";
import { keyIdOf } from "@smile/custody/keys";
import { encodeLanes, packLanes } from "@smile/he/lanes";
import { type KeyMode, type Params, paramsId } from "@smile/he/params";
import { SealLayout } from "@smile/he/seal-layout";
import { openSeal } from "@smile/he/seal-module";
import { encodeFull, encodeSeeded } from "@smile/he/wire";
import type { Deployment } from "@smile/schemas/documents";
import { documentId } from "@smile/schemas/documents";
import { publicHalf } from "@smile/schemas/ed25519";
import { deliveryCodec, type Frame, gapCodec, scoreCodec } from "@smile/schemas/envelopes";
import { type PlantRegister, signRegister } from "@smile/schemas/plant-register";
import { uniformInt } from "pure-rand/distribution/uniformInt";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";

export type ManyPlantsOptions = {
  readonly plants: number;
  readonly gatewaysPerPlant: number;
  readonly deployment: Deployment;
  readonly params: Params;
  readonly keyMode: KeyMode;
};

/** A gateway with one machine, and its window: sent again and again under new sequences, since what is measured looks at no content. */
export type LoneGateway = { readonly signingKey: KeyObject; readonly features: Int32Array; readonly frame: Frame };

export type LonePlant = {
  readonly register: PlantRegister;
  readonly secretKeys: ReadonlyMap<string, Uint8Array>;
  readonly gateways: readonly LoneGateway[];
};

/**
 * Plants with an identity, keys, a register and signed frames of their own, as the plants' commands would make them but for folders,
 * passphrases and certificates: ten thousand in a minute. Gateway i has lane i mod L of block i / L, so that gateways of a plant may merge.
 */
export async function* makePlants({ plants, gatewaysPerPlant, deployment, params, keyMode }: ManyPlantsOptions): AsyncGenerator<LonePlant> {
  using session = await openSeal(params);
  const { seal, context } = session;
  const none = seal.ComprModeType.none;
  using layout = new SealLayout(session);
  using plain = new seal.Plaintext();
  using cipher = new seal.Ciphertext();
  const width = params.n / deployment.lanes;
  const kind = { scheme: params.scheme, keyMode, paramsId: paramsId(params), featureSetId: documentId(deployment.featureSet) };
  const active = { state: "active" as const, untilMs: null };

  for (let p = 0; p < plants; p++) {
    const plant = `plant-${p}`;
    using generator = new seal.KeyGenerator(context);
    const encryptorOf = () => {
      using fresh = keyMode === "public" ? undefined : new seal.KeyGenerator(context);
      const from = fresh ?? generator;
      using secret = from.secretKey();
      using open = from.createPublicKey();
      const publicKey: Uint8Array = open.saveToArray(none);
      return {
        keyId: keyIdOf(publicKey),
        publicKey,
        secretKey: secret.saveToArray(none),
        encryptor: new seal.Encryptor(context, open, secret),
      };
    };
    let key = encryptorOf();
    const keys = [{ ...key, gateway: keyMode === "public" ? null : "gateway-0" }];
    const gateways: LoneGateway[] = [];
    for (let g = 0; g < gatewaysPerPlant; g++) {
      const gateway = `gateway-${g}`;
      if (keyMode === "symmetric" && g > 0) {
        key = encryptorOf();
        keys.push({ ...key, gateway });
      }
      const random = xoroshiro128plus(1 + p * gatewaysPerPlant + g);
      const features = Int32Array.from({ length: width }, () => uniformInt(random, -127, 127));
      const lane = g % deployment.lanes;
      layout.loadPlain(packLanes([{ lane, features }], params.n, width), plain);
      let ciphertext: Uint8Array;
      if (keyMode === "public") {
        key.encryptor.encrypt(plain, cipher);
        ciphertext = encodeFull(params, layout.splitFull(cipher.saveToArray(none)));
      } else {
        using seeded = key.encryptor.encryptSymmetricSerializable(plain);
        ciphertext = encodeSeeded(params, layout.splitSeeded(seeded.saveToArray(none)));
      }
      gateways.push({
        signingKey: generateKeyPairSync("ed25519").privateKey,
        features,
        frame: {
          ...{
            ...kind,
            plant,
            keyId: key.keyId,
            gateway,
            epoch: 1,
            sequence: 0,
            frameTimeMs: 0,
            closedAtMs: 0,
            jobId: null,
            frameCount: null,
          },
          block: Math.floor(g / deployment.lanes),
          lanes: encodeLanes([lane], deployment.lanes),
          ciphertextHash: hash("sha256", ciphertext),
          ciphertext,
          signature: new Uint8Array(0),
        },
      });
    }
    for (const { encryptor } of keys) encryptor.delete();
    const register = signRegister(
      {
        ...{ kind: "plant-register", version: 1, plant, serial: 1, issuedAtMs: Date.now(), certificateAuthority: null, consoles: [] },
        reads: { score: [...scoreCodec.versions], gap: [...gapCodec.versions], delivery: [...deliveryCodec.versions] },
        gateways: gateways.map(({ signingKey, frame: { gateway } }, g) => ({
          gateway,
          lanes: { first: g, count: 1 },
          credentials: [{ signingKey: publicHalf(signingKey), certificateHash: null, ...active }],
        })),
        keys: keys.map(({ keyId, publicKey, gateway }) => ({
          ...{ keyEpoch: 1, gateway, paramsId: kind.paramsId, keyId, publicKey: Buffer.from(publicKey).toString("base64"), ...active },
        })),
      },
      generateKeyPairSync("ed25519").privateKey,
    );
    yield { register, secretKeys: new Map(keys.map(({ keyId, secretKey }) => [keyId, secretKey])), gateways };
  }
}
