import { isPipelineError, PipelineError } from "@smile/errors/pipeline-error";
import type { Logger } from "@smile/runtime/logging";
import { startBroker } from "@smile/runtime/mqtt-broker";
import { openMqtt } from "@smile/runtime/mqtt-client";
import type { PlantRegistry } from "@smile/runtime/plant-registry";
import { type CursorMessage, parseCursor } from "@smile/schemas/cursor";
import type { PeerIdentity } from "@smile/schemas/registered-plant";
import { WORK_KINDS, WORK_TOPICS, type WorkKind } from "@smile/schemas/topics";
import { brokerOptions, clientOptions, type Endpoint, type EndpointState, isExternal } from "./endpoint.ts";

export type Delivery = AsyncDisposable &
  EndpointState & {
    /** Resolves when there is room for more: neither broker says whether the plant has it. Rejects when it is disposed. */
    publish(topic: string, payload: Uint8Array): Promise<void>;
  };

const LOG_EVERY_MS = 1000;

/**
 * The way to the plants over MQTT: scores out, cursors in. A cursor that is lost comes again, as the console repeats it, so nothing is kept
 * for us at an external broker.
 * @param work what is deployed: nothing else is asked for at an external broker
 * @param plants whose consoles are heard and served
 * @param onCursor a plant's cursor among its scores of a kind of work
 * @param onFailure called when the external broker refuses the subscription
 * @throws {PipelineError} BROKER_DOWN when a broker in this process cannot listen, TLS_REQUIRED
 */
export async function openDelivery(options: {
  readonly endpoint: Endpoint;
  readonly work: readonly WorkKind[];
  readonly plants: PlantRegistry;
  readonly onCursor: (work: WorkKind, plant: string, cursor: CursorMessage) => void;
  readonly logger: Logger;
  readonly onFailure: (error: unknown) => void;
}): Promise<Delivery> {
  const { endpoint, plants, logger } = options;
  /** The one kind of thing that plants may publish. Anything else is refused by resolving: sent again it would be the same. */
  const hear = async ({ topic, payload, peer }: Heard) => {
    try {
      const { work, plant } = sourceOfCursor(topic, peer, plants);
      options.onCursor(work, plant, parseCursor(payload));
    } catch (error) {
      if (!isPipelineError(error)) throw error;
      noteIgnored(error.code);
    }
  };
  /** Whoever sends nonsense sends more of it. */
  let ignored = 0;
  let loggedMs = Number.NEGATIVE_INFINITY;
  const noteIgnored = (code: string) => {
    ignored += 1;
    if (performance.now() - loggedMs < LOG_EVERY_MS) return;
    loggedMs = performance.now();
    logger.warn({ code, total: ignored }, "ignored a message to the delivery broker");
  };

  if (!isExternal(endpoint)) {
    const broker = await startBroker({
      ...brokerOptions(endpoint, plants),
      logger,
      authorizePublish: hear,
      authorizeSubscribe: async (peer, _, filter) => mayHaveScores(filter, peer, plants),
      authorizeForward: (peer, _, topic) => mayHaveScores(topic, peer, plants),
    });
    return {
      url: broker.url,
      connected: true,
      cutOff: broker.cutOff,
      publish: (topic, payload) => broker.publish(topic, payload),
      [Symbol.asyncDispose]: () => broker[Symbol.asyncDispose](),
    };
  }
  const connection = openMqtt({
    ...clientOptions(endpoint),
    logger,
    subscribe: {
      filters: options.work.map((work) => WORK_TOPICS[work].mqtt.cursor("+")),
      handle: (topic, payload) => hear({ topic, payload, peer: null }),
    },
  });
  connection.ready().catch(options.onFailure);
  return {
    url: endpoint.broker,
    get connected() {
      return connection.connected;
    },
    cutOff: {},
    publish: (topic, payload) => connection.publish(topic, payload),
    [Symbol.asyncDispose]: () => connection[Symbol.asyncDispose](),
  };
}

type Heard = { readonly topic: string; readonly payload: Uint8Array; readonly peer: PeerIdentity | null };

/**
 * The plant whose cursor comes on a topic, and among the scores of which kind of work it stands.
 * @throws {PipelineError} FRAME_WRONG_SENDER, PLANT_UNKNOWN
 */
function sourceOfCursor(topic: string, peer: PeerIdentity | null, plants: PlantRegistry): { work: WorkKind; plant: string } {
  const plant = topic.split("/")[2] ?? "";
  const work = WORK_KINDS.find((each) => topic === WORK_TOPICS[each].mqtt.cursor(plant));
  if (work === undefined || !isConsoleOf(plant, peer))
    throw new PipelineError("FRAME_WRONG_SENDER", "a plant's consoles publish nothing but its cursors");
  if (plants.find(plant) === undefined) throw new PipelineError("PLANT_UNKNOWN", "the plant is not registered");
  return { work, plant };
}

/** A plant's consoles have the scores of their own plant; wildcards would reach the others'. */
function mayHaveScores(topic: string, peer: PeerIdentity | null, plants: PlantRegistry): boolean {
  const plant = topic.split("/")[2] ?? "";
  const isOwn = WORK_KINDS.some((work) => topic === WORK_TOPICS[work].mqtt.scores(plant));
  return isOwn && isConsoleOf(plant, peer) && plants.find(plant) !== undefined;
}

/** Without TLS nobody can tell: who is on this machine is trusted, and scores are ciphertexts to all but the plant. */
function isConsoleOf(plant: string, peer: PeerIdentity | null): boolean {
  return peer === null || (peer.role === "console" && peer.plant === plant);
}
