import { hash, type KeyObject } from "node:crypto";
import { PipelineError } from "@smile/errors/pipeline-error";
import { decodeLanes } from "@smile/he/lanes";
import { checkFrame, frameLength } from "@smile/he/wire";
import type { PlantRegistry } from "@smile/runtime/plant-registry";
import type { Frame, Gap } from "@smile/schemas/envelopes";
import type { PeerIdentity, RegisteredPlant } from "@smile/schemas/registered-plant";
import { NAME, parseFramesTopic, type WorkKind } from "@smile/schemas/topics";
import type { DeployedKind } from "./catalogue.ts";

/** A message as it came: `peer` is who its connection's certificate belongs to, null on one without TLS. */
export type Arrival = { readonly topic: string; readonly payload: Uint8Array; readonly peer: PeerIdentity | null };

/** @throws {PipelineError} FRAME_WRONG_LENGTH */
export function checkLength(payload: Uint8Array, largest: number): void {
  if (payload.length <= largest) return;
  throw new PipelineError("FRAME_WRONG_LENGTH", `the envelope has ${payload.length} bytes`, { length: payload.length, largest });
}

/**
 * Jobs come on topics of their own, where they wait for each other; nothing else may wait there, and no job before streams.
 * @throws {PipelineError} FRAME_WRONG_SENDER
 */
export function checkWork({ topic }: Arrival, work: WorkKind): void {
  if (parseFramesTopic(topic).work === work) return;
  throw new PipelineError("FRAME_WRONG_SENDER", `frames and gaps of ${work} are published to another topic than this`);
}

/**
 * Topic, envelope and certificate must name the same gateway, and the plant must have registered it.
 * @returns the plant, and the keys of which one must have signed
 * @throws {PipelineError} FRAME_WRONG_SENDER, PLANT_UNKNOWN, SENDER_UNKNOWN
 */
export function checkSender(
  { topic, peer }: Arrival,
  { plant, gateway }: Pick<Gap, "plant" | "gateway">,
  registry: PlantRegistry,
  nowMs: number,
): { readonly plant: RegisteredPlant; readonly signers: readonly KeyObject[] } {
  const sender = parseFramesTopic(topic);
  if (sender.plant !== plant || sender.gateway !== gateway)
    throw new PipelineError("FRAME_WRONG_SENDER", "the envelope names another plant or gateway than its topic");
  if (peer !== null && !mayPublishAs(peer, sender))
    throw new PipelineError("FRAME_WRONG_SENDER", "the certificate belongs to another plant or gateway than the topic names");
  const registered = registry.find(plant);
  if (registered === undefined) throw new PipelineError("PLANT_UNKNOWN", "the plant is not registered");
  const signers = registered.signersAt(gateway, nowMs);
  if (signers.length === 0) throw new PipelineError("SENDER_UNKNOWN", "the plant has no such gateway, or none of its keys is in force");
  return { plant: registered, signers };
}

/** Whether a peer is the gateway that it publishes as. */
export function mayPublishAs(peer: PeerIdentity, { plant, gateway }: { readonly plant: string; readonly gateway: string }): boolean {
  return peer.role === "gateway" && peer.plant === plant && peer.name === gateway;
}

/** @throws {PipelineError} SIGNATURE_INVALID */
export function checkSignature(isSigned: boolean): void {
  if (!isSigned) throw new PipelineError("SIGNATURE_INVALID", "no key of the gateway that is in force made this signature");
}

/** @throws {PipelineError} FRAME_MALFORMED */
export function checkFrameNumbers({ epoch, sequence, block, jobId, frameCount }: Frame): void {
  if (epoch < 0 || sequence < 0 || block < 0) throw new PipelineError("FRAME_MALFORMED", "epoch, sequence and block count from 0");
  if (jobId === null ? frameCount !== null : !NAME.test(jobId) || frameCount === null || sequence >= frameCount)
    throw new PipelineError(
      "FRAME_MALFORMED",
      "a job has an id and a number of frames, and a frame its place among them; a stream has none",
    );
}

/** @throws {PipelineError} FRAME_MALFORMED when the gap's numbers contradict each other */
export function checkGapNumbers({ epoch, fromSequence, toSequence, frames, windows, fromTimeMs, toTimeMs }: Gap): void {
  const agrees =
    epoch >= 0 && fromSequence >= 0 && frames >= 1 && frames === toSequence - fromSequence + 1 && windows >= 0 && fromTimeMs <= toTimeMs;
  if (!agrees) throw new PipelineError("FRAME_MALFORMED", "the gap's numbers contradict each other");
}

/**
 * A gateway fills its own lanes: merged into one ciphertext, windows in a neighbour's would be added to the neighbour's.
 * @throws {PipelineError} LANES_INVALID
 */
export function checkLanes({ gateway, block, lanes }: Frame, { lanes: perBlock }: DeployedKind, plant: RegisteredPlant): void {
  const used = decodeLanes(lanes, perBlock);
  const own = plant.lanesOf(gateway)!;
  const first = block * perBlock + used[0]!;
  const last = block * perBlock + used.at(-1)!;
  if (first < own.first || last >= own.first + own.count) {
    throw new PipelineError("LANES_INVALID", `lanes ${first} to ${last} are not all among the gateway's own`, {
      first: own.first,
      count: own.count,
    });
  }
}

/**
 * The plant has registered the key; in symmetric mode for this gateway, otherwise for all of them.
 * @throws {PipelineError} KEY_UNKNOWN
 */
export function checkKey({ gateway, keyMode, paramsId, keyId }: Frame, plant: RegisteredPlant, nowMs: number): void {
  const key = plant.keyAt(paramsId, keyId, nowMs);
  if (key === undefined) throw new PipelineError("KEY_UNKNOWN", "the plant has no such key in force for these parameters", { keyId });
  if (key.gateway !== (keyMode === "symmetric" ? gateway : null))
    throw new PipelineError("KEY_UNKNOWN", "the plant registered this key for other gateways than this one", { keyId });
}

/** @throws {PipelineError} FRAME_WRONG_LENGTH */
export function checkCiphertextLength({ ciphertext }: Frame, { params, keyMode }: DeployedKind): void {
  const expected = frameLength(params, keyMode);
  if (ciphertext.length === expected) return;
  throw new PipelineError("FRAME_WRONG_LENGTH", `the ciphertext has ${ciphertext.length} bytes; these parameters ask for ${expected}`, {
    expected,
  });
}

/** @throws {PipelineError} FRAME_WRONG_HASH */
export function checkHash({ ciphertext, ciphertextHash }: Frame): void {
  if (hash("sha256", ciphertext) !== ciphertextHash)
    throw new PipelineError("FRAME_WRONG_HASH", "the ciphertext has another SHA-256 than the envelope says");
}

/** @throws {PipelineError} RESIDUE_OUT_OF_RANGE, CIPHERTEXT_TRANSPARENT */
export function checkResidues({ ciphertext }: Frame, { params, keyMode }: DeployedKind): void {
  checkFrame(params, keyMode, ciphertext);
}
