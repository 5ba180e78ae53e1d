import { MessagePort } from "node:worker_threads";
import { type ErrorCode, isPipelineError } from "@smile/errors/pipeline-error";
import type { Scheme } from "@smile/he/params";
import { type IntegerHead, plan } from "@smile/he/planner";
import { residueAt } from "@smile/he/residues";
import { type ScoringJob, ScoringPool, type ScoringPoolOptions } from "@smile/he/scoring-pool";
import { decodeReply } from "@smile/he/wire";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { type EncryptedLoop, openLoop, plainScore, scoringHead } from "./encrypted-loop.ts";

const F = 64;
const head: IntegerHead = {
  weights: [0, 1].map((k) => Array.from({ length: F }, (_, f) => Math.round(500 * Math.sin(f + k)))),
  bias: [7, -7],
};
const planOf = (scheme: Scheme) =>
  plan({ scheme, featureCount: F, featureBits: 8, heads: [head], keyMode: "public", maxMerges: 4, modelPrivacy: "compact" });

type Bench = Disposable & {
  readonly loop: EncryptedLoop;
  job(i: number): ScoringJob;
  /** Whether the replies are those of job i. */
  check(i: number, replies: readonly Uint8Array[]): void;
};

async function openBench(scheme: Scheme): Promise<Bench> {
  const planned = planOf(scheme);
  const loop = await openLoop(planned);
  const features = (i: number) => Int32Array.from({ length: F }, (_, f) => ((f * 31 + i * 17) % 255) - 127);
  return {
    loop,
    job: (i) => ({
      head: scoringHead(planned, head),
      key: loop.keys,
      ciphertext: loop.frame([{ lane: i % planned.lanes, features: features(i) }]),
      lanes: [i % planned.lanes],
    }),
    check: (i, replies) =>
      expect(replies.map((reply) => loop.decryptor.decrypt(reply, [i % planned.lanes])[0])).toEqual([
        plainScore(head, 0, features(i)),
        plainScore(head, 1, features(i)),
      ]),
    [Symbol.dispose]: () => loop[Symbol.dispose](),
  };
}

const openPool = (options: ScoringPoolOptions = {}) => new ScoringPool({ threads: 2, ...options });

async function codeOf(work: Promise<unknown>): Promise<ErrorCode | "fulfilled"> {
  try {
    await work;
  } catch (error) {
    if (isPipelineError(error)) return error.code;
    throw error;
  }
  return "fulfilled";
}

describe.each(["bgv", "identity"] as const)("scoring pool, %s", (scheme) => {
  it("answers every job with its own scores, however many are in flight", async () => {
    using bench = await openBench(scheme);
    await using pool = openPool();
    const replies = await Promise.all(Array.from({ length: 40 }, (_, i) => pool.score(bench.job(i))));
    replies.forEach((reply, i) => {
      bench.check(i, reply);
    });
    expect([pool.jobs, pool.waiting]).toEqual([0, 0]);
  });

  it("answers every job once and rightly while its workers are terminated again and again", async () => {
    using bench = await openBench(scheme);
    await using pool = openPool();
    bench.check(0, await pool.score(bench.job(0)));
    let answers = 0;
    // One death in each wave, while most of its jobs are under way: a job that met three would rightly be refused.
    for (let wave = 0; wave < 6; wave++) {
      const jobs = Array.from({ length: 10 }, async (_, i) => {
        const replies = await pool.score(bench.job(i));
        answers += 1;
        bench.check(i, replies);
      });
      await Promise.race(jobs);
      await pool.threads[0]?.terminate();
      await Promise.all(jobs);
    }
    expect(answers).toBe(60);
  });

  it("a refusal in a worker arrives as the PipelineError that it was, and neighbours are scored", async () => {
    using bench = await openBench(scheme);
    await using pool = openPool();
    const good = bench.job(1);
    const spoilt = Uint8Array.from(good.ciphertext).fill(255, 0, 14);
    const transparent = new Uint8Array(good.ciphertext.length);
    const [short, range, clear, lane, key, scored] = await Promise.allSettled([
      pool.score({ ...good, ciphertext: good.ciphertext.subarray(1) }),
      pool.score({ ...good, ciphertext: spoilt }),
      pool.score({ ...good, ciphertext: transparent }),
      pool.score({ ...good, lanes: [1000] }),
      pool.score({ ...good, key: { keyId: "another", publicKey: good.key.publicKey.subarray(1) } }),
      pool.score(good),
    ]);
    const code = (result: PromiseSettledResult<unknown>) => (result.status === "rejected" ? result.reason.code : result.status);
    expect(code(short)).toBe("FRAME_WRONG_LENGTH");
    expect(code(range)).toBe("RESIDUE_OUT_OF_RANGE");
    expect(code(clear)).toBe(scheme === "bgv" ? "CIPHERTEXT_TRANSPARENT" : "fulfilled");
    expect(code(lane)).toBe("LANES_INVALID");
    expect(code(key)).toBe("KEY_MISMATCH");
    if (short.status === "rejected") expect(short.reason.facts).toMatchObject({ length: good.ciphertext.length - 1 });
    if (scored.status === "rejected") throw scored.reason;
    bench.check(1, scored.value);
  });
});

describe("scoring pool", () => {
  it("holds at most maxJobs jobs; further callers wait for their turn", async () => {
    using bench = await openBench("identity");
    await using pool = openPool({ maxJobs: 3 });
    let most = 0;
    const jobs = Array.from({ length: 12 }, async (_, i) => {
      const replies = await pool.score(bench.job(i));
      most = Math.max(most, pool.jobs);
      bench.check(i, replies);
    });
    expect(pool.jobs).toBe(3);
    expect(pool.waiting).toBe(9);
    await Promise.all(jobs);
    expect(most).toBeLessThanOrEqual(3);
    expect([pool.jobs, pool.waiting]).toEqual([0, 0]);
  });

  it("gives threads full tasks of eight as long as enough of one head and key waits", async () => {
    using bench = await openBench("identity");
    await using pool = openPool();
    const posted = vi.spyOn(MessagePort.prototype, "postMessage");
    onTestFinished(() => posted.mockRestore());
    const { head: same } = bench.job(0);
    await Promise.all(Array.from({ length: 128 }, (_, i) => pool.score({ ...bench.job(i), head: same })));
    const sizes = posted.mock.calls.flatMap(([{ task }]) => (task?.batches === undefined ? [] : [task.batches.length]));
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(128);
    // What is left at the end may be shared out evenly.
    expect(sizes.slice(0, 12)).toEqual(Array(12).fill(8));
  });

  it("a refused job gives its place back", async () => {
    using bench = await openBench("identity");
    await using pool = openPool({ maxJobs: 1 });
    for (let i = 0; i < 3; i++) {
      expect(await codeOf(pool.score({ ...bench.job(i), lanes: [1000] }))).toBe("LANES_INVALID");
      bench.check(i, await pool.score(bench.job(i)));
    }
  });

  it("a job whose memory kills every worker ends in WORKER_DIED, and its neighbours are scored", async () => {
    using bench = await openBench("identity");
    await using pool = openPool({ heapMbPerWorker: 24 });
    const heavy = { ...bench.job(0) };
    // Far more than a worker's heap holds once it is unpacked there.
    const ballast = Array.from({ length: 600_000 }, (_, i) => ({ i }));
    const killing = codeOf(pool.score({ ...heavy, head: { ...heavy.head, ballast } as ScoringJob["head"] }));
    const neighbours = Array.from({ length: 10 }, async (_, i) => bench.check(i, await pool.score(bench.job(i))));
    expect(await killing).toBe("WORKER_DIED");
    await Promise.all(neighbours);
    bench.check(3, await pool.score(bench.job(3)));
  });

  it("replaces workers that die while they are idle or still starting", async () => {
    using bench = await openBench("identity");
    await using pool = openPool();
    await Promise.all(pool.threads.map((thread) => thread.terminate()));
    bench.check(1, await pool.score(bench.job(1)));
    await Promise.all(pool.threads.map((thread) => thread.terminate()));
    bench.check(2, await pool.score(bench.job(2)));
  });

  it("closing rejects jobs under way, waiting and new with STOPPED", async () => {
    using bench = await openBench("identity");
    const pool = openPool({ maxJobs: 2 });
    bench.check(0, await pool.score(bench.job(0)));
    const pending = Array.from({ length: 6 }, (_, i) => codeOf(pool.score(bench.job(i))));
    await pool[Symbol.asyncDispose]();
    expect(new Set(await Promise.all(pending))).toEqual(new Set(["STOPPED"]));
    expect(await codeOf(pool.score(bench.job(0)))).toBe("STOPPED");
    expect([pool.jobs, pool.waiting]).toEqual([0, 0]);
  });

  it("a head deployed anew under its id is scored with the flooding of its new deployment", async () => {
    const { params } = planOf("identity");
    using bench = await openBench("identity");
    await using pool = openPool({ threads: 1 });
    const job = bench.job(0);
    /** The identity scheme adds no noise of its own: what is left over a multiple of t is flooding. */
    const flooding = async (floodBits: number) => {
      const replies = await pool.score({ ...job, head: { ...job.head, floodBits } });
      bench.check(0, replies);
      const residue = residueAt(decodeReply(params, replies[0]!, [0], F).c0, F - 1);
      return Math.abs(Math.round(Number(residue > params.q / 2n ? residue - params.q : residue) / params.t));
    };
    expect(await flooding(20)).toBeGreaterThan(1);
    expect(await flooding(0)).toBeLessThanOrEqual(1);
  });
});
