import { hash } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { type Frame, frameCodec, gapCodec, scoreCodec } from "@smile/schemas/envelopes";
import { LOG_TOPICS } from "@smile/schemas/topics";
import { growthBy } from "./figures.ts";
import { HOSTILE_EPOCH } from "./frame-cases.ts";
import { gapId, type HonestGateway, windowId } from "./honest.ts";
import { readAll } from "./log-tail.ts";
import type { Desk, World } from "./world.ts";

const PATIENCE_MS = 20_000;
const LOOK_MS = 100;
/** Refusals of the model service that say that a worker did not live through a batch, or met what it cannot explain. */
const DEATHS = ["WORKER_DIED", "SCORING_FAILED"];

export type Verdict = {
  /** What was taken of somebody hostile, in words. */
  readonly accepted: readonly string[];
  readonly crashes: readonly string[];
  /** Good windows that a console has not, or not as they must be. */
  readonly lost: readonly string[];
  readonly goodWindows: number;
};

/**
 * Waits until every console has what the honest gateways sent, and looks at all that is stored anywhere.
 * @param patienceMs how long a console may have nothing new before what is missing counts as lost
 */
export async function judge(world: World, honest: readonly HonestGateway[], patienceMs = PATIENCE_MS): Promise<Verdict> {
  const accepted = new Set<string>();
  const lost: string[] = [];
  for (const desk of [...world.desks, world.besieged]) {
    const expected = expectedAt(desk, honest);
    await stored(desk, expected.size, patienceMs, () => world.services.some(({ hasEnded }) => hasEnded));
    lost.push(...compare(desk, expected, accepted), ...compareGaps(desk, honest, accepted));
  }
  await readFrames(world, honest, accepted);
  await readScores(world, honest, accepted);
  return {
    accepted: [...accepted],
    crashes: await crashesOf(world),
    lost,
    goodWindows: honest.reduce((sum, { expected }) => sum + expected.size, 0),
  };
}

function expectedAt({ plant }: Desk, honest: readonly HonestGateway[]): ReadonlyMap<string, number> {
  return new Map(honest.filter(({ party }) => party.plant === plant).flatMap(({ expected }) => [...expected]));
}

async function stored({ journal }: Desk, count: number, patienceMs: number, isHopeless: () => boolean): Promise<void> {
  let sinceMs = performance.now();
  while (journal.risks.length < count && performance.now() - sinceMs < patienceMs && !isHopeless()) {
    if (journal.read().length > 0) sinceMs = performance.now();
    else await delay(LOOK_MS);
  }
  journal.read();
}

function compare({ process, journal }: Desk, expected: ReadonlyMap<string, number>, accepted: Set<string>): string[] {
  const shown = new Set<string>();
  const lost: string[] = [];
  for (const risk of journal.risks) {
    const id = windowId(risk, risk.lane);
    const score = expected.get(id);
    if (score === undefined) accepted.add(`shown: ${id} at ${process.name}`);
    else if (shown.has(id)) lost.push(`doubled: ${id} at ${process.name}`);
    else if (score !== risk.score) lost.push(`wrong: ${id} is ${risk.score} and not ${score} at ${process.name}`);
    shown.add(id);
  }
  for (const id of expected.keys()) if (!shown.has(id)) lost.push(`missing: ${id} at ${process.name}`);
  return lost;
}

function compareGaps({ plant, process, journal }: Desk, honest: readonly HonestGateway[], accepted: Set<string>): string[] {
  const expected = new Map(honest.filter(({ party }) => party.plant === plant).flatMap(({ gaps }) => [...gaps]));
  for (const gap of journal.gaps()) {
    const id = gapId(gap);
    if (expected.get(id)?.windows !== gap.windows) accepted.add(`shown: ${id}, ${gap.windows} windows, at ${process.name}`);
    expected.delete(id);
  }
  return [...expected.keys()].map((id) => `missing: ${id} at ${process.name}`);
}

/** Every gap among the scores must be one that an honest gateway sent, and be there once; no score may be of what had to be refused. */
async function readScores({ log }: World, honest: readonly HonestGateway[], accepted: Set<string>): Promise<void> {
  const good = new Set(honest.flatMap(({ gapEnvelopes }) => [...gapEnvelopes]));
  const seen = new Set<string>();
  for (const { value, partition, offset } of await readAll(log, LOG_TOPICS.scores)) {
    if (gapCodec.claims(value)) {
      const digest = hash("sha256", value);
      if (seen.has(digest) || !good.has(digest)) accepted.add(`gap appended${good.has(digest) ? " again" : ""}: ${partition}/${offset}`);
      seen.add(digest);
      continue;
    }
    for (const { gateway, epoch, sequence } of scoreCodec.decode(value).parts)
      if (epoch === HOSTILE_EPOCH) accepted.add(`scored: ${gateway} ${epoch} ${sequence}`);
  }
}

/** Every frame of the log must be one that an honest gateway sent, byte by byte, and be there once. */
async function readFrames({ log }: World, honest: readonly HonestGateway[], accepted: Set<string>): Promise<void> {
  const good = new Set(honest.flatMap(({ envelopes }) => [...envelopes]));
  const seen = new Set<string>();
  for (const { value, partition, offset } of await readAll(log, LOG_TOPICS.frames)) {
    const digest = hash("sha256", value);
    if (seen.has(digest)) accepted.add(`appended again: ${partition}/${offset}`);
    else if (!good.has(digest)) accepted.add(`appended: ${nameOf(value) ?? digest}`);
    seen.add(digest);
  }
}

function nameOf(value: Uint8Array): string | undefined {
  try {
    const { gateway, epoch, sequence }: Frame = frameCodec.decode(value);
    return `${gateway} ${epoch} ${sequence}`;
  } catch {
    return undefined;
  }
}

async function crashesOf({ services, modelService }: World): Promise<string[]> {
  const crashes = services.flatMap((service) => service.crashes);
  if (modelService.hasEnded) return crashes;
  const refused = growthBy("code", "smile_model_service_batches_refused_total", new Map(), await modelService.figures());
  return [
    ...crashes,
    ...DEATHS.filter((code) => refused[code] !== undefined).map(
      (code) => `model service: ${refused[code]} batches were refused with ${code}`,
    ),
  ];
}
