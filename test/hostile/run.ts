import { hash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { silentLogger } from "@smile/runtime/logging";
import { openMqtt } from "@smile/runtime/mqtt-client";
import { fixedTls } from "@smile/runtime/tls-files";
import { type Batch, batchCodec, gapCodec, type Score, scoreCodec } from "@smile/schemas/envelopes";
import { framesTopic, LOG_TOPICS } from "@smile/schemas/topics";
import { type Dice, diceOf } from "../fuzz/mutate.ts";
import { BatchCases } from "./batch-cases.ts";
import type { FrameCase } from "./case.ts";
import { type DeliveryCase, DeliveryCases } from "./delivery-cases.ts";
import { type Figures, growthBy, growthOf, sum } from "./figures.ts";
import { FrameCases } from "./frame-cases.ts";
import { HonestGateway, partId } from "./honest.ts";
import { keptCases, revive } from "./kept.ts";
import { LogTail } from "./log-tail.ts";
import { mqttKinds } from "./mqtt-cases.ts";
import { planCases } from "./plan.ts";
import { dropRegister, dropRegisters } from "./register-cases.ts";
import type { ServiceProcess } from "./service-process.ts";
import { judge } from "./verdict.ts";
import { type Mutants, openWorld, type World } from "./world.ts";

export type KindReport = { readonly cases: number; readonly refused: Readonly<Record<string, number>> };

export type HostileReport = {
  readonly cases: number;
  readonly accepted: number;
  readonly crashes: number;
  readonly neighboursLost: number;
  readonly peakRssMb: number;
  readonly seed: number;
  readonly seconds: number;
  /** Windows of the honest gateways, all of which must have their risk. */
  readonly goodWindows: number;
  readonly peakRssMbByService: Readonly<Record<string, number>>;
  readonly kinds: Readonly<Record<string, KindReport>>;
};

export type RunOptions = {
  readonly seed: number;
  readonly cases: number;
  /** Only kinds whose name matches. */
  readonly only?: RegExp;
  readonly mutants?: Mutants;
  /** How long a console may have nothing new before what is missing counts as lost: what was lost never comes. Default 20 s. */
  readonly patienceMs?: number;
  readonly say: (text: string) => void;
};

export const MOST_MB = 400;

export function hasPassed({ accepted, crashes, neighboursLost, peakRssMb }: HostileReport): boolean {
  return accepted === 0 && crashes === 0 && neighboursLost === 0 && peakRssMb <= MOST_MB;
}

/** Between an acknowledgement of an honest gateway and its next frame. */
const HONEST_EVERY_MS = 120;
const FRAMES_UNDER_WAY = 24;
const CLIENTS_BESIDE_EACH_OTHER = 6;
/** Good batches and scores that are kept to be mutated. */
const KEPT_GOOD = 80;
const ENOUGH_GOOD = 6;
/** How long counters may stand still before a kind is done. */
const SETTLED_MS = 700;
const LOOK_MS = 100;
const PATIENCE_MS = 20_000;
/** Findings of one sort that are told. */
const MOST_TOLD = 5;

/** Runs the services among hostile cases, and tells what came of it. */
export async function runHostile({ seed, cases, only = /./, mutants, patienceMs, say }: RunOptions): Promise<HostileReport> {
  const beganMs = performance.now();
  const folder = mkdtempSync(join(tmpdir(), "smile-hostile-"));
  try {
    await using world = await openWorld(folder, mutants);
    say(`services are up after ${seconds(beganMs)} s`);
    const run = new Run(world, seed, say);
    const kinds = await run.all(cases, only);
    const { accepted, crashes, lost, goodWindows } = await judge(world, run.honest, patienceMs);
    for (const [what, found] of Object.entries({ accepted, crashes, lost })) tell(what.toUpperCase(), found, say);
    const memory = Object.fromEntries(world.services.map(({ name, peakRssMb }) => [name, Math.round(peakRssMb)]));
    return {
      cases: sum(Object.fromEntries(Object.entries(kinds).map(([kind, report]) => [kind, report.cases]))),
      accepted: accepted.length + run.takenElsewhere,
      crashes: crashes.length,
      neighboursLost: lost.length,
      peakRssMb: Math.max(...Object.values(memory)),
      seed,
      seconds: seconds(beganMs),
      goodWindows,
      peakRssMbByService: memory,
      kinds,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** One run's honest gateways, material and attackers. */
class Run {
  readonly honest: readonly HonestGateway[];
  /** Taken where nothing is stored: registers, subscriptions, connections. */
  takenElsewhere = 0;
  readonly #world: World;
  readonly #seed: number;
  readonly #say: (text: string) => void;
  readonly #batches: Batch[] = [];
  readonly #scores: { readonly own: Score[]; readonly others: Score[] } = { own: [], others: [] };
  readonly #fed = new Set<string>();
  /** SHA-256 of the records that we append to the log. */
  readonly #appended = new Set<string>();
  readonly #kinds: Record<string, KindReport> = {};

  constructor(world: World, seed: number, say: (text: string) => void) {
    this.#world = world;
    this.#seed = seed;
    this.#say = say;
    this.honest = world.parties.flatMap((party) =>
      party.gateways.map((gateway) => new HonestGateway(world, party, gateway, HONEST_EVERY_MS)),
    );
  }

  async all(cases: number, only: RegExp): Promise<Readonly<Record<string, KindReport>>> {
    const world = this.#world;
    await using opened = new AsyncDisposableStack();
    for (const gateway of this.honest) opened.use(gateway);
    opened.use(new LogTail(world.log, LOG_TOPICS.batches, ({ value }) => this.#noteBatch(value)));
    opened.use(new LogTail(world.log, LOG_TOPICS.scores, ({ value }) => this.#noteScore(value)));
    await this.#enough();
    const frames = new FrameCases(world, this.honest);
    const batches = new BatchCases(world, this.#batches);
    const deliveries = new DeliveryCases(world, this.#scores, () => world.fake.length);
    const mqtt = await mqttKinds(world, frames);
    const wanted = (kinds: object) => Object.keys(kinds).filter((kind) => only.test(kind));
    const groups = {
      frames: wanted(frames.kinds),
      batches: wanted({ ...batches.refused, ...batches.scored }),
      deliveries: wanted(deliveries.kinds),
      mqtt: wanted(mqtt).filter((kind) => mqtt[kind]!.isSlow !== true),
      slow: wanted(mqtt).filter((kind) => mqtt[kind]!.isSlow === true),
      registers: wanted({ registers: true }),
    };
    const plan = planCases(cases, groups);
    const dicePerKind = (kind: string): Dice =>
      diceOf(this.#seed * 1_000_003 + [...kind].reduce((sum, c) => sum * 31 + c.charCodeAt(0), 7));
    const countOf = (kind: string) => plan.get(kind) ?? 0;
    const made = <T>(kind: string, make: (dice: Dice) => T): (() => T | undefined) => {
      const dice = dicePerKind(kind);
      let left = countOf(kind);
      return () => (left-- > 0 ? make(dice) : undefined);
    };
    const clients = async (kind: string) => {
      const { run } = mqtt[kind]!;
      await this.#clients(kind, countOf(kind), dicePerKind(kind), run, mqtt[kind]!.isSlow ? countOf(kind) : CLIENTS_BESIDE_EACH_OTHER);
    };
    const first = async () => {
      for (const [i, kind] of groups.frames.entries()) {
        if (i === Math.floor(groups.frames.length / 3)) for (const gateway of this.honest) gateway.beginEpoch();
        await this.#frames(kind, countOf(kind), made(kind, frames.kinds[kind]!));
      }
      for (const kind of groups.mqtt) await clients(kind);
    };
    const second = async () => {
      const all = { ...batches.refused, ...batches.scored };
      for (const kind of groups.batches) await this.#appendBatches(kind, countOf(kind), made(kind, all[kind]!));
    };
    const third = async () => {
      for (const kind of groups.deliveries) await this.#deliver(kind, countOf(kind), made(kind, deliveries.kinds[kind]!));
    };
    const fourth = async () => {
      const count = countOf("registers");
      if (count === 0) return;
      const { refused, taken } = await dropRegisters(world, count, dicePerKind("registers"));
      this.takenElsewhere += taken;
      this.#report("registers", count, refused);
    };
    if (only.test("kept")) await this.#unlessDead(this.#kept(frames));
    await this.#unlessDead(
      Promise.all([first(), second(), third(), fourth(), ...groups.slow.filter((kind) => countOf(kind) > 0).map(clients)]),
    );
    await this.#unlessDead(Promise.all(this.honest.map((gateway) => gateway.stop())));
    // What was scored last is on its way to the besieged console.
    await this.#unlessDead(this.#fedAll());
    await opened.disposeAsync();
    return this.#kinds;
  }

  /** Where a service has died nothing goes on: there is no more to wait for. */
  async #unlessDead(work: Promise<unknown>): Promise<void> {
    let isDone = false;
    const dead = async () => {
      while (!isDone && !this.#world.services.some(({ hasEnded }) => hasEnded)) await delay(LOOK_MS);
    };
    work.catch(() => {});
    await Promise.race([work, dead()]).finally(() => {
      isDone = true;
    });
    if (this.#world.services.some(({ hasEnded }) => hasEnded)) return;
    await work;
  }

  async #enough(): Promise<void> {
    const has = () =>
      this.#batches.length >= ENOUGH_GOOD && this.#scores.own.length >= ENOUGH_GOOD && this.#scores.others.length >= ENOUGH_GOOD;
    const others = () => new Set(this.#batches.map(({ plant }) => plant)).size > 1 && this.#world.fake.stored > 0;
    for (const untilMs = performance.now() + PATIENCE_MS; performance.now() < untilMs && !(has() && others()); ) await delay(LOOK_MS);
  }

  #noteBatch(value: Uint8Array): void {
    if (this.#batches.length < KEPT_GOOD && !this.#appended.has(hash("sha256", value))) this.#batches.push(batchCodec.decode(value));
  }

  #noteScore(value: Uint8Array): void {
    if (gapCodec.claims(value)) {
      const isGood = this.honest.some(
        ({ party, gapEnvelopes }) => party === this.#world.parties[0] && gapEnvelopes.has(hash("sha256", value)),
      );
      if (isGood) this.#world.fake.push(value);
      return;
    }
    const score = scoreCodec.decode(value);
    const id = score.parts.map(({ gateway, epoch, sequence }) => `${gateway} ${epoch} ${sequence}`).join();
    // Scores of hostile batches are for the plants' own consoles to refuse.
    if (!score.parts.every((part) => this.#isHonest(part)) || this.#fed.has(id)) return;
    this.#fed.add(id);
    const isOwn = score.plant === this.#world.parties[0].plant;
    const kept = isOwn ? this.#scores.own : this.#scores.others;
    if (isOwn) this.#world.fake.push(value);
    if (kept.length < KEPT_GOOD) kept.push(score);
  }

  #isHonest(part: Score["parts"][number]): boolean {
    return this.honest.some(({ parts }) => parts.has(partId(part)));
  }

  /** The feed holds every good window of its plant, and the console has dealt with all of it. */
  async #fedAll(): Promise<void> {
    const { fake } = this.#world;
    let sinceMs = performance.now();
    for (let before = -1; performance.now() - sinceMs < 2000; await delay(LOOK_MS)) {
      if (fake.length === before && fake.stored === fake.length) continue;
      if (performance.now() - sinceMs > PATIENCE_MS) return;
      if (fake.length !== before) sinceMs = performance.now();
      before = fake.length;
    }
  }

  async #frames(kind: string, count: number, next: () => FrameCase | undefined): Promise<void> {
    if (count === 0) return;
    const { streamProcessor, ports } = this.#world;
    const before = await streamProcessor.figures();
    await using connections = new AsyncDisposableStack();
    const open = new Map<string, ReturnType<typeof openMqtt>>();
    const connectionOf = ({ via: { gateway } }: FrameCase) => {
      const known = open.get(gateway.name);
      if (known !== undefined) return known;
      const url = `mqtts://127.0.0.1:${ports.frames}`;
      const made = connections.use(
        openMqtt({ url, clientId: `${gateway.name}-stolen`, logger: silentLogger(), tls: fixedTls(gateway.tls) }),
      );
      open.set(gateway.name, made);
      return made;
    };
    await besideEachOther(FRAMES_UNDER_WAY, next, (each) => connectionOf(each).publish(each.topic, each.payload));
    const after = await streamProcessor.figures();
    this.#report(kind, count, {
      ...growthBy("code", "smile_stream_processor_frames_refused_total", before, after),
      ...positive({ replayed: growthOf("smile_stream_processor_frames_replayed_total", before, after) }),
    });
  }

  async #appendBatches(kind: string, count: number, next: () => { key: string; value: Uint8Array } | undefined): Promise<void> {
    if (count === 0) return;
    const { modelService, desks } = this.#world;
    const watched = [modelService, ...desks.map(({ process }) => process)];
    const read = (before: readonly Figures[], after: readonly Figures[]) => {
      const counts = growthBy("code", "smile_model_service_batches_refused_total", before[0]!, after[0]!);
      for (const i of desks.keys()) addConsole(counts, before[i + 1]!, after[i + 1]!, "console: ");
      return counts;
    };
    await this.#counted(kind, count, watched, read, () => besideEachOther(8, next, ({ key, value }) => this.#append(key, value)));
  }

  async #append(key: string, value: Uint8Array): Promise<void> {
    this.#appended.add(hash("sha256", value));
    await this.#world.log.append([{ topic: LOG_TOPICS.batches, key, value }]);
  }

  async #deliver(kind: string, count: number, next: () => DeliveryCase | undefined): Promise<void> {
    if (count === 0) return;
    const { besieged, fake } = this.#world;
    const read = ([before]: readonly Figures[], [after]: readonly Figures[]) => {
      const counts: Record<string, number> = {};
      addConsole(counts, before!, after!, "");
      return counts;
    };
    await this.#counted(kind, count, [besieged.process], read, async () => {
      for (let each = next(); each !== undefined; each = next()) {
        if ("entry" in each) fake.push(each.entry);
        else await fake.aside(each.aside);
      }
      for (const untilMs = performance.now() + PATIENCE_MS; fake.stored < fake.length && performance.now() < untilMs; )
        await Promise.race([fake.moved(), delay(LOOK_MS)]);
    });
  }

  /** Sends, and waits until every case is accounted for, or nothing moves any more. */
  async #counted(
    kind: string,
    count: number,
    watched: readonly ServiceProcess[],
    read: (before: readonly Figures[], after: readonly Figures[]) => Record<string, number>,
    send: () => Promise<void>,
  ): Promise<void> {
    const figures = () => Promise.all(watched.map((service) => service.figures()));
    const before = await figures();
    await send();
    let counts = read(before, await figures());
    for (let sinceMs = performance.now(); sum(counts) < count && performance.now() - sinceMs < SETTLED_MS; await delay(LOOK_MS)) {
      const now = read(before, await figures());
      if (sum(now) !== sum(counts)) sinceMs = performance.now();
      counts = now;
    }
    this.#report(kind, count, counts);
  }

  async #clients(kind: string, count: number, dice: Dice, run: (dice: Dice) => Promise<string>, atOnce: number): Promise<void> {
    if (count === 0) return;
    const outcomes: Record<string, number> = {};
    let left = count;
    await besideEachOther(
      atOnce,
      () => (left-- > 0 ? run : undefined),
      async (each) => {
        const outcome = await each(dice);
        outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
      },
    );
    for (const taken of ["ACCEPTED", "unanswered"]) {
      if (outcomes[taken] === undefined) continue;
      this.takenElsewhere += outcomes[taken];
      this.#say(`ACCEPTED: ${outcomes[taken]} of ${kind}: ${taken}`);
    }
    this.#report(kind, count, outcomes);
  }

  /** Every case that was ever found, again. */
  async #kept(frames: FrameCases): Promise<void> {
    const { scoreSigner, fake } = this.#world;
    const place = frames.place(() => 0);
    const { party, gateway } = place;
    const sent: FrameCase[] = [];
    const all = keptCases();
    for (const kept of all) {
      const value = revive(kept, {
        frame: frames.good(place, () => 0),
        gap: frames.goodGap(place),
        honestGap: place.twin.gaps.values().next().value!,
        batch: this.#batches.find(({ plant }) => plant === party.plant)!,
        score: this.#scores.own[0]!,
        register: party.register,
        gatewayKey: gateway.signingKey,
        scoreKey: scoreSigner,
      });
      const payload = { via: { party, gateway }, topic: framesTopic(party.plant, gateway.name), payload: value };
      if (kept.to === "frame" || kept.to === "gap") sent.push(payload);
      else if (kept.to === "batch") await this.#append(party.plant, value);
      else if (kept.to === "register") this.takenElsewhere += (await dropRegister(this.#world, 0, value)).taken;
      else fake.push(value);
    }
    if (all.length > 0) await this.#frames("kept", all.length, () => sent.shift());
  }

  #report(kind: string, cases: number, refused: Record<string, number>): void {
    this.#kinds[kind] = { cases, refused };
    this.#say(`${kind}: ${cases} ${JSON.stringify(refused)}`);
  }
}

/** Some of each sort of finding, which stands before the colon. */
function tell(what: string, found: readonly string[], say: (text: string) => void): void {
  for (const [sort, all] of Map.groupBy(found, (each) => each.split(":")[0]!)) {
    say(`${what}: ${sort}: ${all.length}, such as:`);
    for (const each of all.slice(0, MOST_TOLD)) say(`  ${each}`);
  }
}

/** How a console passed things over. */
function addConsole(counts: Record<string, number>, before: Figures, after: Figures, prefix: string): void {
  const add = (name: string, count: number) => {
    if (count > 0) counts[prefix + name] = (counts[prefix + name] ?? 0) + count;
  };
  for (const [code, count] of Object.entries(growthBy("code", "smile_plant_console_deliveries_refused_total", before, after)))
    add(code, count);
  add("malformed", growthOf("smile_plant_console_deliveries_malformed_total", before, after));
  add(
    "out of turn",
    growthOf("smile_plant_console_deliveries_early_total", before, after) +
      growthOf("smile_plant_console_deliveries_repeated_total", before, after),
  );
  add("scores of revoked keys", growthOf("smile_plant_console_scores_revoked_total", before, after));
  add("scores of unknown lanes", growthOf("smile_plant_console_scores_unknown_lane_total", before, after));
  add("risks stored already", growthOf("smile_plant_console_risks_duplicate_total", before, after));
  add("contradictions", growthOf("smile_plant_console_contradictions_total", before, after));
}

function positive(counts: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
}

/** Works on what `next` gives until it gives nothing, so many at a time. */
async function besideEachOther<T>(atOnce: number, next: () => T | undefined, work: (each: T) => Promise<void>): Promise<void> {
  const lane = async () => {
    for (let each = next(); each !== undefined; each = next()) await work(each);
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
}

function seconds(beganMs: number): number {
  return Math.round((performance.now() - beganMs) / 100) / 10;
}
