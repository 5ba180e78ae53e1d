import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { isPipelineError } from "@smile/errors/pipeline-error";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type EmbeddedLogOptions, openEmbeddedLog, openTemporaryLog } from "../src/embedded-log.ts";
import { silentLogger } from "../src/logging.ts";
import { describeLog } from "./log-contract.ts";

const logger = silentLogger();
const never = new AbortController().signal;
const ample = { maxRecords: 1000, maxBytes: 1 << 20, waitMs: 20_000 };
const value = new Uint8Array(1000);

describeLog("the embedded log", async () => {
  const folder = await mkdtemp(join(tmpdir(), "smile-log-"));
  return {
    connect: () => openEmbeddedLog({ path: join(folder, "log.db"), logger }),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
  };
});

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "smile-log-"));
});
afterEach(() => rm(folder, { recursive: true }));
const path = () => join(folder, "log.db");
const open = (options: Partial<EmbeddedLogOptions> = {}) => openEmbeddedLog({ path: path(), logger, ...options });
const frame = { topic: "frames", key: "plant", value };
/** What the file says of the group `batcher`, as a process that starts now would read it. */
const committed = () => {
  using db = new DatabaseSync(path(), { readOnly: true });
  return db.prepare("SELECT offset FROM commits WHERE group_name = 'batcher'").get()?.offset;
};
const frames = { name: "frames", partitions: 1 };

it("refuses a second live member of a group, in this process and from another log on the same file", async () => {
  await using log = await open();
  await using other = await open();
  await log.ensureTopics([frames]);
  {
    await using _member = await log.join("batcher", ["frames"]);
    for (const each of [log, other]) {
      await expect(each.join("batcher", ["frames"])).rejects.toSatisfy((error) => isPipelineError(error, "LOG_GROUP_BUSY"));
    }
    await using _elsewhere = await other.join("egress", ["frames"]);
  }
  await using _next = await other.join("batcher", ["frames"]);
});

it("takes over at once from a process that died here, and from another machine when its lease ends", async () => {
  let nowMs = Date.now();
  await using log = await open({ now: () => nowMs });
  await log.ensureTopics([frames]);
  const dead = spawn(process.execPath, ["-e", ""], { stdio: "ignore" });
  await once(dead, "exit");
  const db = new DatabaseSync(path());
  const lease = db.prepare("INSERT INTO leases VALUES (?, 'x', ?, ?, 0, ?)");
  lease.run("batcher", hostname(), dead.pid!, nowMs + 5000);
  lease.run("egress", `not-${hostname()}`, dead.pid!, nowMs + 5000);
  db.close();
  await using _batcher = await log.join("batcher", ["frames"]);
  await expect(log.join("egress", ["frames"])).rejects.toSatisfy((error) => isPipelineError(error, "LOG_GROUP_BUSY"));
  nowMs += 5000;
  await using _egress = await log.join("egress", ["frames"]);
});

it("takes over from a stuck member when its lease ends, and the member that was ousted neither commits nor polls any more", async () => {
  let nowMs = 1_000_000;
  await using log = await open({ now: () => nowMs, leaseMs: 5000 });
  await using other = await open({ now: () => nowMs, leaseMs: 5000 });
  await log.ensureTopics([frames, { name: "other", partitions: 1 }]);
  await log.append([frame]);
  const slow = await log.join("batcher", ["frames"]);
  const taken = await slow.poll(ample, never);
  nowMs += 5001; // no beat has come in all that time: the event loop was stuck
  await using next = await other.join("batcher", ["frames"]);
  await slow.settle(taken);
  await log.append([{ ...frame, topic: "other" }]);
  expect(committed()).toBe(0);
  await expect(slow.poll(ample, never)).rejects.toSatisfy((error) => isPipelineError(error, "LOG_GROUP_BUSY"));
  await slow[Symbol.asyncDispose]();
  expect(committed()).toBe(0);
  expect(await next.poll(ample, never)).toHaveLength(1);
  await expect(log.join("batcher", ["frames"])).rejects.toSatisfy((error) => isPipelineError(error, "LOG_GROUP_BUSY"));
});

it("commits what was settled along with the next append, without dispose", async () => {
  await using log = await open();
  await log.ensureTopics([frames]);
  await log.append([frame, frame]);
  await using member = await log.join("batcher", ["frames"]);
  await member.settle(await member.poll({ ...ample, maxRecords: 1 }, never));
  await log.append([frame]);
  expect(committed()).toBe(1);
});

it("deletes a record only when it is old enough and every group has settled it, and never uses an offset again", async () => {
  let nowMs = 1_000_000;
  await using log = await open({ now: () => nowMs });
  await log.ensureTopics([{ ...frames, retentionMs: 1000 }]);
  const earliest = async () => {
    await log.trim();
    return (await log.ends("frames"))[0]!.earliest;
  };
  await log.append([frame, frame, frame]);
  nowMs += 600;
  await log.append([frame]);
  expect(await earliest()).toBe(0);
  nowMs += 600; // the first three are 1200 ms old now, the fourth 600
  await using member = await log.join("batcher", ["frames"]);
  const taken = await member.poll(ample, never);
  expect(await earliest()).toBe(0);
  await member.settle(taken.slice(0, 2));
  await log.append([frame]);
  expect(await earliest()).toBe(2);
  await member.settle(taken);
  await log.append([frame]);
  expect(await earliest()).toBe(3);
  expect((await log.read({ topic: "frames", partition: 0, offset: 0 }, ample, never)).map(({ offset }) => offset)).toEqual([3, 4, 5]);
  await member.settle(await member.poll(ample, never));
  await member[Symbol.asyncDispose]();
  nowMs += 2000;
  expect(await earliest()).toBe(6);
  expect(await log.append([frame])).toEqual([{ topic: "frames", partition: 0, offset: 6 }]);
});

it("deletes by age alone in a topic that no group reads, in steps", async () => {
  let nowMs = 1_000_000;
  await using log = await open({ now: () => nowMs });
  await log.ensureTopics([{ ...frames, retentionMs: 1000 }]);
  await log.append(Array.from({ length: 1700 }, () => ({ ...frame, value: new Uint8Array(1) })));
  nowMs += 1001;
  await log.trim();
  expect(await log.ends("frames")).toEqual([{ partition: 0, earliest: 1700, latest: 1700 }]);
});

it("keeps a record that a clock set back left between older ones", async () => {
  let nowMs = 1_000_000;
  await using log = await open({ now: () => nowMs });
  await log.ensureTopics([{ ...frames, retentionMs: 1000 }]);
  for (const stepMs of [0, 900, -900]) {
    nowMs += stepMs;
    await log.append([frame]);
  }
  nowMs += 1001;
  await log.trim();
  expect(await log.ends("frames")).toEqual([{ partition: 0, earliest: 1, latest: 3 }]);
});

it("refuses an append when too much waits for the disk, and takes appends again afterwards", async () => {
  await using log = await open({ maxWaitingBytes: 2500 });
  await log.ensureTopics([frames]);
  const appends = [log.append([frame]), log.append([frame]), log.append([frame])];
  await expect(appends[2]).rejects.toSatisfy((error) => isPipelineError(error, "LOG_UNAVAILABLE"));
  await Promise.all(appends.slice(0, 2));
  expect(await log.append([frame, frame, frame, frame])).toHaveLength(4);
});

it("acknowledges nothing that could not be written, keeps what it had, and recovers", async () => {
  await using log = await open();
  await log.ensureTopics([frames]);
  await log.append([frame]);
  // A disk without room fails a statement within the transaction; so does this trigger, without filling a disk.
  const blocker = new DatabaseSync(path());
  blocker.exec("CREATE TRIGGER full BEFORE INSERT ON records BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END");
  await expect(log.append([frame])).rejects.toSatisfy((error) => isPipelineError(error, "LOG_UNAVAILABLE") && error.retriable);
  blocker.exec("DROP TRIGGER full");
  blocker.close();
  expect(await log.append([frame])).toEqual([{ topic: "frames", partition: 0, offset: 1 }]);
});

it("names a file that is no log", async () => {
  await writeFile(path(), "this is not a database, whatever its name says".repeat(100));
  await expect(open()).rejects.toSatisfy((error) => isPipelineError(error, "FILE_DAMAGED") && error.message.includes(path()));
  await expect(open({ path: join(path(), "below", "log.db") })).rejects.toSatisfy((error) => isPipelineError(error, "LOG_UNAVAILABLE"));
});

it("leaves nothing behind when it is temporary", async () => {
  const log = await openTemporaryLog({ logger });
  await log.ensureTopics([frames]);
  await log.append([frame]);
  await log[Symbol.asyncDispose]();
});
