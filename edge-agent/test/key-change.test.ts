import { generateKeyPairSync } from "node:crypto";
import { join } from "node:path";
import type { LiftedWindow } from "@smile/features/spec";
import type { FrameEncryptor } from "@smile/he/backend";
import { decodeLanes } from "@smile/he/lanes";
import { openEncryptor } from "@smile/he/open";
import { plan } from "@smile/he/planner";
import { silentLogger } from "@smile/runtime/logging";
import { type Frame, frameCodec } from "@smile/schemas/envelopes";
import { paramsToDocument } from "@smile/schemas/params-document";
import { isPartSigned } from "@smile/schemas/signing";
import { expect, it } from "vitest";
import { openLoop, plainScore } from "../../custody/test/encrypted-loop.ts";
import { EnvelopeSealer } from "../src/envelope-sealer.ts";
import { frameFormat } from "../src/frame-format.ts";
import { RowQueue } from "../src/row-queue.ts";
import { startEdgeAgent } from "../src/service.ts";
import { agentConfig, aWindow, deployment, lanes, newFolder, randomFrom, signingKey, someRows } from "./fixture.ts";

const random = randomFrom(7);
const width = aWindow("m0", 0).features.length;
const head = { weights: [Array.from({ length: width }, () => Math.round(random() * 1000) - 500)], bias: [17] };
const planned = plan({ featureCount: width, featureBits: 8, heads: [head], keyMode: "public", maxMerges: 1, modelPrivacy: "compact" });
const encrypted = { ...deployment, params: paramsToDocument(planned.params) };
const newSigner = () => generateKeyPairSync("ed25519").privateKey;

it("loses and doubles no window while its keys change again and again under load, and each is encrypted under one key", async () => {
  using opened = new DisposableStack();
  const loops = (await Promise.all([0, 1, 2].map(() => openLoop(planned)))).map((loop) => opened.use(loop));
  const keys = loops.map(({ keys }) => ({ keyId: keys.keyId, bytes: keys.publicKey }));
  const signers = [signingKey, newSigner(), newSigner()];
  const sent: Frame[] = [];
  const sender = {
    send: async (envelope: Uint8Array) => {
      sent.push(frameCodec.decode(envelope));
      await new Promise(setImmediate);
    },
    [Symbol.asyncDispose]: async () => {},
  };
  const truth: { window: LiftedWindow; sequence: number; lane: number }[] = [];
  const source = new RowQueue({ capacity: 8, largestBatch: 4 });
  const config = agentConfig(join(newFolder(), "edge.db"), { deployment: encrypted, key: keys[0]!, signingKey: signers[0]! });
  await using agent = await startEdgeAgent(config, { source, openSender: async () => sender }, silentLogger(), {
    onWindow: (window, { sequence }, lane) => truth.push({ window, sequence, lane }),
  });

  const rows = someRows(200, 11);
  const part = Math.ceil(rows.length / 16);
  const feed = async (index: number) => {
    for (const row of rows.slice(index * part, (index + 1) * part)) await source.push(row);
  };
  const order = [0];
  for (let i = 0; i < 16; i += 2) {
    const next = (1 + i / 2) % 3;
    const changes = [agent.useKey(keys[next]!), agent.useKey({ keyId: "bad", bytes: new Uint8Array(8) })];
    const settled = Promise.allSettled(changes);
    await feed(i);
    expect((await settled).map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
    agent.useSigningKey(signers[next]!);
    order.push(next);
    await feed(i + 1);
  }
  source.end();
  await agent.done;

  const bySequence = sent.toSorted((a, b) => a.sequence - b.sequence);
  expect(bySequence.map(({ sequence }) => sequence)).toEqual(Array.from({ length: agent.counters.frames }, (_, i) => i));
  const under = bySequence.map(({ keyId }) => keys.findIndex((key) => key.keyId === keyId));
  const runs = under.filter((key, i) => key !== under[i - 1]);
  expect(runs.slice(runs.length - order.length + 1)).toEqual(order.slice(1)); // the first key may not have come to a frame
  const firsts = under.flatMap((key, i) => (key !== under[i - 1] ? [i] : []));
  const lastRun = bySequence.slice(firsts.at(-1));
  expect(lastRun.some((frame) => isPartSigned(frame, frame, [signers[order.at(-1)!]!]))).toBe(true);

  const scores = bySequence.flatMap((frame, i) => {
    expect(isPartSigned(frame, frame, signers)).toBe(true);
    const at = decodeLanes(frame.lanes, lanes);
    const [found] = loops[under[i]!]!.scores(head, [frame.ciphertext], at);
    return at.map((lane, k) => `${frame.sequence} ${lane} ${found![k]}`);
  });
  const wanted = truth.map(({ window, sequence, lane }) => `${sequence} ${lane} ${plainScore(head, 0, window.features)}`);
  expect(scores.toSorted()).toEqual(wanted.toSorted());
  expect(truth.length).toBe(agent.counters.windows);
  expect(truth.length).toBeGreaterThan(500);
});

it("holds one encryptor at a time, keeps it when a key is refused, and gives it back in the end", async () => {
  using loop = await openLoop(planned);
  const open = new Set<FrameEncryptor>();
  const counted: typeof openEncryptor = async (params, key) => {
    const encryptor = await openEncryptor(params, key);
    const watched: FrameEncryptor = {
      encrypt: (coefficients) => encryptor.encrypt(coefficients),
      memoryBytes: () => encryptor.memoryBytes(),
      [Symbol.dispose]: () => {
        encryptor[Symbol.dispose]();
        open.delete(watched);
      },
    };
    open.add(watched);
    return watched;
  };
  const key = (keyId: string) => ({ keyId, bytes: loop.keys.publicKey });
  const format = frameFormat("plant", encrypted);
  const sealer = await EnvelopeSealer.open(format, { key: key("0"), signingKey, versions: { frame: 1, gap: 1 } }, counted);
  for (let i = 1; i <= 5; i++) {
    await sealer.useKey(key(`${i}`));
    expect(open.size).toBe(1);
  }
  await expect(sealer.useKey({ keyId: "6", bytes: new Uint8Array(100) })).rejects.toMatchObject({ code: "KEY_MISMATCH" });
  expect([sealer.keyId, open.size]).toEqual(["5", 1]);
  const late = sealer.useKey(key("7"));
  sealer[Symbol.dispose]();
  await expect(late).rejects.toMatchObject({ code: "STOPPED" });
  expect(open.size).toBe(0);
});
