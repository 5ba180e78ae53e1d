import type { LocalKafka } from "@smile/kafka-local/local-kafka";
import type { Deployment } from "@smile/schemas/documents";
import { verifyingKey } from "@smile/schemas/ed25519";
import { isPartSigned } from "@smile/schemas/signing";
import { parseFramesTopic } from "@smile/schemas/topics";
import { type BadMessage, corrupt, foreignKey, forged, type GoodFrame, oversize, poison, publishOnce } from "./hostile-client.ts";
import type { Plant } from "./plant.ts";
import type { Fault, FaultKind } from "./schedule.ts";
import { untilShown } from "./shown-certificate.ts";
import type { Supervised } from "./supervised.ts";

export type Scene = {
  readonly plant: Plant;
  readonly deployment: Deployment;
  readonly kafka: LocalKafka | undefined;
  /** Told of the code of a bad message that was taken: it must have a dead letter. */
  readonly onProvoked: (code: string) => void;
};

type Message = { readonly topic: string; readonly payload: Uint8Array };

/** Where a fault is over: from here to the first new risk is its recovery; `gateway` when only that one was struck. */
export type Restarted = { readonly atMs: number; readonly gateway?: string };

type Injector = (scene: Scene, fault: Fault) => Promise<Restarted | undefined>;

const HOUR_MS = 3_600_000;
/** A broker with a length guard answers an oversize message by closing the connection. */
const OVERSIZE_PATIENCE_MS = 1500;
/** What is renewed has to be in use by then: services and agents look at their files every second or five, unless they are struck themselves. */
const RENEWED_MS = 60_000;

/** How each kind of fault is done to a plant. Resolves when what was killed runs again, and what was changed is as before. */
export const INJECTORS: Record<FaultKind, Injector> = {
  "kill-stream-processor": ({ plant }, fault) => kill(plant, pick(plant.streamProcessors, fault), fault),
  "kill-model-service": ({ plant }, fault) => kill(plant, pick(plant.modelServices, fault), fault),
  "kill-plant-console": ({ plant }, fault) => kill(plant, plant.console, fault),
  "kill-edge-agent": async ({ plant }, fault) => {
    const { agent, name } = pick(plant.gateways, fault);
    return { ...(await kill(plant, agent, fault)), gateway: name };
  },
  "kill-kafka": async ({ plant, kafka }, { steps }) => {
    if (kafka === undefined) throw new Error("there is no Kafka to kill");
    await kafka.kill();
    await plant.steps.pass(steps);
    const atMs = performance.now();
    await kafka.start();
    return { atMs };
  },
  "frozen-stream-processor": ({ plant }, fault) => freeze(plant, pick(plant.streamProcessors, fault), fault),
  "frozen-model-service": ({ plant }, fault) => freeze(plant, pick(plant.modelServices, fault), fault),
  "stale-member": ({ plant }, fault) => freeze(plant, pick([...plant.streamProcessors, ...plant.modelServices], fault), fault),
  "frozen-console": ({ plant }, fault) => freeze(plant, plant.console, fault),
  "console-absent": ({ plant }, fault) => kill(plant, plant.console, fault),
  "disk-full": async ({ plant }, fault) => {
    const { agent, disk, name } = pick(plant.gateways, fault);
    return agent.exclusively(async () => {
      try {
        for (let step = 0; step < fault.steps; step++) {
          disk.fill(agent.pid); // also what the agent has given up in the meantime
          await plant.steps.pass(1);
        }
      } finally {
        disk.empty(agent.pid);
      }
      return { atMs: performance.now(), gateway: name };
    });
  },
  "clock-skew": async ({ plant }, fault) => {
    const { agent, name } = pick(plant.gateways, fault);
    return agent.exclusively(async () => {
      agent.signal("SIGUSR2");
      plant.machines.skew(name, fault.draw % 2 === 0 ? HOUR_MS : -HOUR_MS);
      await plant.steps.pass(fault.steps);
      agent.signal("SIGUSR2");
      plant.machines.skew(name, 0);
      return undefined;
    });
  },
  "time-series-down": async ({ plant }, { steps }) => {
    await plant.timeSeries.down();
    await plant.steps.pass(steps);
    await plant.timeSeries.up();
    return undefined;
  },
  "duplicated-publish": async ({ plant }, { draw }) => {
    const recent = plant.frames.captured.slice(-8);
    await republish(plant, recent[draw % recent.length]!);
    return undefined;
  },
  "replayed-publish": async ({ plant }, { draw }) => {
    const old = plant.frames.captured.slice(0, 8);
    await republish(plant, old[draw % old.length]!);
    return undefined;
  },
  "reordered-publish": async ({ plant }, fault) => {
    await plant.frames.swapNext(pick(plant.gateways, fault).clientId);
    return undefined;
  },
  "delayed-publish": ({ plant }, fault) => hold(plant, plant.frames, pick(plant.gateways, fault).clientId, fault),
  "dropped-acknowledgement": async ({ plant }, fault) => {
    await plant.frames.cutBeforeAcknowledgement(pick(plant.gateways, fault).clientId);
    return undefined;
  },
  "duplicated-delivery": async ({ plant }, { draw }) => {
    const { captured } = plant.deliveries;
    while (captured.length === 0) await plant.steps.pass(1);
    const { topic, payload } = captured[draw % captured.length]!;
    plant.deliveries.slip(plant.consoleClientId, topic, payload);
    return undefined;
  },
  "delayed-delivery": ({ plant }, fault) => hold(plant, plant.deliveries, plant.consoleClientId, fault),
  "dropped-delivery-acknowledgement": async ({ plant }) => {
    await plant.deliveries.cutBeforeAcknowledgement(plant.consoleClientId);
    return undefined;
  },
  "poison-message": (scene, { draw }) => provoke(scene, ({ payload }) => poison(payload, draw)),
  "corrupt-ciphertext": (scene, { draw }) => provoke(scene, (good) => corrupt(good, draw, scene.deployment)),
  "foreign-key": (scene, { draw }) => provoke(scene, (good) => foreignKey(good, draw)),
  "forged-frame": (scene, { draw }) => provoke(scene, (good) => forged(good, draw)),
  "oversize-message": (scene, { draw }) => provoke(scene, () => oversize(draw), OVERSIZE_PATIENCE_MS),
  "renewed-gateway": async ({ plant }, fault) => {
    const { name } = pick(plant.gateways, fault);
    const { signingKey, certificateHash } = await plant.parties.renewGateway(name, RENEWED_MS);
    const signers = [verifyingKey(signingKey)];
    await plant.acknowledgedFrames.next(
      `a frame of ${name} with its renewed key and certificate`,
      (frame, certificate) => frame.gateway === name && certificate === certificateHash && isPartSigned(frame, frame, signers),
      RENEWED_MS,
    );
    return undefined;
  },
  "rotated-keys": async ({ plant }) => {
    const keyIds = await plant.parties.rotateKeys(RENEWED_MS);
    const from = ({ name }: (typeof plant.gateways)[number]) =>
      plant.acknowledgedFrames.next(
        `a frame of ${name} under the new key`,
        ({ gateway, keyId }) => gateway === name && keyIds.includes(keyId),
        RENEWED_MS,
      );
    await Promise.all(plant.gateways.map(from));
    return undefined;
  },
  "renewed-server": async ({ plant }) => {
    const server = await plant.parties.renewServer();
    await Promise.all(plant.brokerPorts.map((port) => untilShown(port, server, RENEWED_MS)));
    for (const link of [plant.frames, plant.deliveries]) link.renew(server);
    return { atMs: performance.now() };
  },
  "damaged-register": ({ plant }, fault) =>
    // A service that is started again beside it goes on with what it took before.
    plant.parties.damagedRegister(fault.draw >> 2, () =>
      kill(plant, pick([...plant.streamProcessors, ...plant.modelServices], fault), fault),
    ),
};

/** The one that a fault's draw means. */
function pick<T>(choices: readonly T[], { draw }: Fault): T {
  return choices[draw % choices.length]!;
}

function kill(plant: Plant, service: Supervised, { steps }: Fault): Promise<Restarted> {
  return service.exclusively(async () => {
    await service.kill();
    await plant.steps.pass(steps);
    const atMs = performance.now();
    await service.start();
    return { atMs };
  });
}

function freeze(plant: Plant, service: Supervised, { steps }: Fault): Promise<Restarted> {
  return service.exclusively(async () => {
    service.signal("SIGSTOP");
    await plant.steps.pass(steps);
    service.signal("SIGCONT");
    return { atMs: performance.now() };
  });
}

async function hold(plant: Plant, link: Plant["frames"], clientId: string, { steps }: Fault): Promise<undefined> {
  const held = link.hold(clientId);
  await plant.steps.pass(steps);
  held.release();
  return undefined;
}

async function republish(plant: Plant, { topic, payload }: Message): Promise<void> {
  if (!(await publishOnce(plant.senderTo(topic), topic, payload))) throw new Error("a repeated frame was never acknowledged");
}

/** Publishes a bad message that is made of the newest good one, under its topic and with its gateway's certificate. */
async function provoke({ plant, onProvoked }: Scene, makeBad: (good: GoodFrame) => BadMessage, patienceMs?: number): Promise<undefined> {
  const { topic, payload: good } = plant.frames.captured.at(-1)!;
  const { key } = plant.parties.signingKeyOf(parseFramesTopic(topic).gateway);
  const { payload, code } = makeBad({ payload: good, key });
  if (await publishOnce(plant.senderTo(topic), topic, payload, patienceMs)) onProvoked(code);
  else if (patienceMs === undefined) throw new Error(`a message that must be refused with ${code} was never answered`);
  return undefined;
}
