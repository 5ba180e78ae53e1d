import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { createKeystore, gatewayKeys, publicKeys } from "@smile/custody/keystore";
import { countRecords, readCsvRecords } from "@smile/edge-agent/jobs/csv-records";
import { runJob } from "@smile/edge-agent/jobs/job-sender";
import { JobStore as SentJobs } from "@smile/edge-agent/jobs/job-store";
import { openMqttFrameSender } from "@smile/edge-agent/mqtt-frame-sender";
import { paramsId } from "@smile/he/params";
import { startModelService } from "@smile/model-service/service";
import { openDecryptionKeys, toSecretKeys } from "@smile/plant-console/decryption-keys";
import { mqttScoreLink } from "@smile/plant-console/score-link";
import { JobStore } from "@smile/plant-console/segments/job-store";
import { startSegmentConsole } from "@smile/plant-console/segments/segment-console";
import { SegmentReader } from "@smile/plant-console/segments/segment-reader";
import { openEmbeddedLog } from "@smile/runtime/embedded-log";
import type { Logger } from "@smile/runtime/logging";
import { fixedTls } from "@smile/runtime/tls-files";
import { documentId } from "@smile/schemas/documents";
import { paramsFromDocument } from "@smile/schemas/params-document";
import { startStreamProcessor } from "@smile/stream-processor/service";
import { makeCredentials } from "../demo/credentials.ts";
import type { SegmentModel } from "./model-folder.ts";

const PLANT = "organisation";
const GATEWAY = "records";
/** After the last frame, no news from the services for this long means that what is missing does not come. */
const QUIET_MS = 15_000;

/** What came back of a job: a segment per record, by its place in the file; -1 where none came. */
export type Segmented = {
  readonly segments: Int16Array;
  readonly missing: number;
  /** Answers that came more than once and were dropped. */
  readonly duplicated: number;
};

/**
 * Sends a file's records as one encrypted job through every service in this process, joined by MQTT with mutual TLS, and gathers the
 * segments that the organisation decrypts.
 * @param folder for log, jobs and segments
 * @param onProgress share of the records that have their segment, in [0, 1]
 * @throws {PipelineError} whatever the file or a service failed with; the signal's reason when it is aborted
 */
export async function runSegments(options: {
  readonly data: string;
  readonly model: Pick<SegmentModel, "deployment" | "heads" | "modelPrivacy">;
  readonly folder: string;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  readonly onProgress: (share: number) => void;
}): Promise<Segmented> {
  const { data, folder, logger, signal, model } = options;
  const { deployment, heads, modelPrivacy } = model;
  const params = paramsFromDocument(deployment.params);
  const { records, fileHash } = await countRecords(data);
  const keystore = await createKeystore(PLANT, params, deployment.keyMode, [GATEWAY], Date.now());
  const lanes = Array.from({ length: deployment.lanes }, (_, lane) => `lane ${lane}`);
  const lease = { gateway: GATEWAY, firstLane: 0, machines: lanes };
  const { registry, server, scoreKeys, ...own } = await makeCredentials(PLANT, [lease], keystore);

  await using opened = new AsyncDisposableStack();
  const log = opened.use(await openEmbeddedLog({ path: join(folder, "log.db"), logger }));
  const listen = { host: "127.0.0.1", port: 0, tls: fixedTls(server) };
  const services = { log, logger, plants: registry, partitions: 1 };
  const processor = opened.use(
    await startStreamProcessor({
      ...services,
      deployments: [deployment],
      frames: listen,
      scores: listen,
      limits: { lingerMs: 20, openPerKind: 4 },
    }),
  );
  const models = opened.use(
    await startModelService({
      ...services,
      deployments: [{ deployment, heads, modelPrivacy }],
      signingKey: scoreKeys.privateKey,
    }),
  );
  const keys = opened.use(await openDecryptionKeys(deployment, toSecretKeys(keystore)));
  const jobs = opened.use(new JobStore({ path: join(folder, "segments.db"), plant: PLANT }));
  const trust = { plant: registry.find(PLANT)!, scoreSigners: [scoreKeys.publicKey] };
  const jobId = randomUUID();
  const name = { jobId, headId: deployment.cards[0]!.headId };
  const complete = Promise.withResolvers<void>();
  let newsMs = performance.now();
  opened.use(
    startSegmentConsole({
      plant: PLANT,
      reader: new SegmentReader({ plant: PLANT, deployment, keys }),
      keys,
      jobs,
      trust: () => trust,
      openLink: mqttScoreLink({ url: processor.scoresUrl, plant: PLANT, kind: "jobs", logger, tls: fixedTls(own.console) }),
      logger,
      onStored: () => {
        newsMs = performance.now();
        options.onProgress((jobs.state(name)?.records ?? 0) / records);
        if (jobs.isComplete(name)) complete.resolve();
      },
    }),
  );

  const { signingKey, tls } = own.gateways.get(GATEWAY)!;
  const sender = opened.use(
    openMqttFrameSender({ url: processor.framesUrl, plant: PLANT, gateway: GATEWAY, kind: "jobs", logger, tls: fixedTls(tls) }),
  );
  const sent = opened.use(new SentJobs(join(folder, "jobs.db")));
  const [shared] = publicKeys(keystore);
  const [secret] = gatewayKeys(keystore);
  const key = secret === undefined ? bytesOf(shared!.keyId, shared!.publicKey) : bytesOf(secret.keyId, secret.secretKey);
  const ids = { featureSetId: documentId(deployment.featureSet), paramsId: paramsId(params), keyId: key.keyId };
  sent.begin(jobId, { plant: PLANT, gateway: GATEWAY, fileHash, ...ids, records, lanes: deployment.lanes });
  const job = { jobId, plant: PLANT, gateway: GATEWAY, deployment, key, signingKey, store: sent, sender };
  const aborted = Promise.withResolvers<never>();
  const onAbort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  opened.defer(() => signal.removeEventListener("abort", onAbort));
  const failed = Promise.race([processor.done, models.done, aborted.promise]);
  failed.catch(() => {}); // seen below
  await Promise.race([runJob({ ...job, records: () => readCsvRecords(data, fileHash) }, signal), failed]);
  signal.throwIfAborted();
  newsMs = performance.now();
  const watch = setInterval(() => {
    if (performance.now() - newsMs > QUIET_MS) complete.resolve();
  }, 500);
  opened.defer(() => clearInterval(watch));
  await Promise.race([complete.promise, failed]);

  const segments = new Int16Array(records).fill(-1);
  if (jobs.state(name) !== undefined) for (const { index, segment } of jobs.assignments(name)) segments[index] = segment;
  return { segments, missing: segments.filter((segment) => segment < 0).length, duplicated: jobs.duplicated(name) };
}

function bytesOf(keyId: string, base64: string) {
  return { keyId, bytes: new Uint8Array(Buffer.from(base64, "base64")) };
}
