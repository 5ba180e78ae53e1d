import { hash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { RecordMapping } from "@smile/features/records/record-spec";
import { IDENTITY_KEY } from "@smile/he/identity-backend";
import { paramsId } from "@smile/he/params";
import { readAudit } from "@smile/runtime/audit-log";
import { ALLOW_UNENCRYPTED } from "@smile/runtime/document-file";
import { writeJsonFile } from "@smile/runtime/json-file";
import { silentLogger } from "@smile/runtime/logging";
import { type Broker, startBroker } from "@smile/runtime/mqtt-broker";
import { documentId } from "@smile/schemas/documents";
import { type Frame, frameCodec } from "@smile/schemas/envelopes";
import { paramsFromDocument } from "@smile/schemas/params-document";
import { identityHash } from "@smile/schemas/plant-register";
import type { SegmentDeployment } from "@smile/schemas/record-documents";
import { newSigningKey } from "@smile/schemas/signing-key";
import { fixturePlant } from "../../../schemas/test/fixture-register.ts";
import { openSource } from "../../src/jobs/open-source.ts";
import { readSourceSettings } from "../../src/jobs/source-config.ts";
import { deployment, lanes, newFolder, someRecords } from "./job-fixture.ts";

export const env = ALLOW_UNENCRYPTED;
const featureSetId = documentId(deployment.featureSet);
const segments = ["a", "b"].map((name) => ({ name, words: "" }));
const training = { data: "test", records: 50, metrics: {} };
const card = { kind: "segment-card", version: 1, name: "test", headId: "aa".repeat(32), featureSetId, segments, training } as const;
export const segmentDeployment: SegmentDeployment = {
  kind: "segment-deployment",
  version: 1,
  ...deployment,
  maxMerges: 1,
  cards: [{ ...card, codeVersion: "test" }],
};
export const mapping: RecordMapping = {
  name: "test",
  columns: [
    { column: "tenure", kind: "numeric" },
    { column: "site", kind: "categorical" },
  ],
  identifier: "employee",
  ignored: [],
  permissions: [],
};

const id = paramsId(paramsFromDocument(deployment.params));
const active = { state: "active" as const, untilMs: null };

/** A folder as `smile plant add-gateway --records` writes it, of the second gateway of a plant, and a file of people. */
export function sourceFolder(url: string, { people = 60, changes = {} }: { people?: number; changes?: object } = {}) {
  const folder = newFolder();
  const at = (name: string) => join(folder, name);
  const signing = newSigningKey("gateway-1");
  const keyId = hash("sha256", IDENTITY_KEY);
  const plant = fixturePlant({
    plant: "plant",
    gateways: [
      { gateway: "machines", lanes: { first: 0, count: 2 } },
      { gateway: "gateway-1", lanes: { first: 2 * lanes, count: lanes } },
    ],
    keys: [{ paramsId: id, keyId, publicKey: IDENTITY_KEY }],
  });
  const own = { signingKey: signing.publicKey, certificateHash: null, ...active };
  const { gateways, keys } = plant.register;
  const register = plant.next({ gateways: [gateways[0]!, { ...gateways[1]!, credentials: [own] }] });
  writeJsonFile(at("register.json"), register);
  writeJsonFile(at("signing-key.json"), signing, 0o600);
  writeJsonFile(at("deployment.json"), segmentDeployment);
  writeJsonFile(at("mapping.json"), mapping);
  const publicKey = Buffer.from(IDENTITY_KEY).toString("base64");
  writeJsonFile(at("key.json"), { kind: "public-key", version: 1, plant: "plant", gateway: null, paramsId: id, keyId, publicKey });
  writePeople(at("people.csv"), people);
  writeJsonFile(at("segment-source.json"), {
    plant: "plant",
    gateway: "gateway-1",
    register: "register.json",
    identity: identityHash(register.identity),
    deployment: "deployment.json",
    mapping: "mapping.json",
    key: "key.json",
    signingKey: "signing-key.json",
    mqtt: { url, window: 2 },
    store: "jobs.db",
    ...changes,
  });
  const revokeKey = () =>
    writeJsonFile(at("register.json"), plant.next({ keys: [{ ...keys[0]!, state: "revoked" as const, untilMs: null }] }));
  return { folder, at, config: at("segment-source.json"), data: at("people.csv"), keyId, revokeKey };
}

export function writePeople(path: string, people: number): void {
  const lines = someRecords(people).map(({ tenure, site }, i) => `p${i},${tenure},${site}\n`);
  writeFileSync(path, `employee,tenure,site\n${lines.join("")}`);
}

export function openFixture(folder: ReturnType<typeof sourceFolder>) {
  return openSource(readSourceSettings(folder.config, env), { folder: folder.folder, env, logger: silentLogger() });
}

/** What the audit log holds, without what differs from run to run. */
export function audited({ at }: ReturnType<typeof sourceFolder>) {
  return existsSync(at("audit.db")) ? [...readAudit(at("audit.db"))].map(({ action, facts }) => ({ action, facts })) : [];
}

export const textOf = (path: string) => readFileSync(path, "utf8");

/** A broker that takes frames of jobs; `before` decides when, and what it throws closes the connection without an acknowledgement. */
export type RecordingBroker = Broker & {
  readonly frames: Map<string, Frame>;
  deliveries: number;
  before: (sequence: number) => void | Promise<void>;
};

export async function recordingBroker(): Promise<RecordingBroker> {
  const frames = new Map<string, Frame>();
  const broker = await startBroker({
    port: 0,
    logger: silentLogger(),
    authorizePublish: async ({ topic, payload }) => {
      if (topic !== "smile/v1/plant/gateway-1/jobs") throw new Error(`a frame on ${topic}`);
      const frame = frameCodec.decode(Uint8Array.from(payload));
      await recording.before(frame.sequence);
      recording.deliveries++;
      const messageId = `${frame.jobId}/${frame.epoch}/${frame.sequence}`;
      // As at the real broker's other end, the first one under an id stands: encryption makes each anew.
      if (!frames.has(messageId)) frames.set(messageId, frame);
    },
  });
  const recording: RecordingBroker = Object.assign(broker, { frames, deliveries: 0, before: () => {} });
  return recording;
}
