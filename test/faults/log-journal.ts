import { isPipelineError } from "@smile/errors/pipeline-error";
import { decodeLanes } from "@smile/he/lanes";
import type { Log, LogRecord } from "@smile/runtime/log";
import { deadLetterCodec, type Frame, frameCodec, type Part, scoreCodec } from "@smile/schemas/envelopes";
import { LOG_TOPICS } from "@smile/schemas/topics";
import type { FrameEntry } from "./journals.ts";

const READ = { maxRecords: 500, maxBytes: 16 * 1024 * 1024, waitMs: 2000 } as const;

/** First byte of a score's envelope: what gateways had to drop stands among the scores. */
const SCORE = "S".charCodeAt(0);

/** A frame by its envelope. @param lanes L of the deployment */
export function frameEntry({ gateway, epoch, sequence, block, lanes, frameTimeMs }: Part | Frame, laneTotal: number): FrameEntry {
  return { gateway, epoch, sequence, block, lanes: decodeLanes(lanes, laneTotal), frameTimeMs };
}

/** Where each partition of the topics stands, so that what earlier schedules left is not read again. */
export type LogMarks = ReadonlyMap<string, ReadonlyMap<number, number>>;

export async function markLog(log: Log): Promise<LogMarks> {
  const marks = new Map<string, ReadonlyMap<number, number>>();
  for (const topic of [LOG_TOPICS.frames, LOG_TOPICS.scores, LOG_TOPICS.deadLetters]) {
    const ends = await log.ends(topic).catch((error: unknown) => {
      if (isPipelineError(error, "LOG_TOPIC_UNKNOWN")) return []; // the first schedule's services will make it
      throw error;
    });
    marks.set(topic, new Map(ends.map(({ partition, latest }) => [partition, latest])));
  }
  return marks;
}

/** What one plant has in the log since the marks. */
export async function readLog(log: Log, marks: LogMarks, plant: string, laneTotal: number) {
  const recordsOf = async (topic: string) => (await readTopic(log, topic, marks.get(topic))).filter(({ key }) => key === plant);
  const [frames, scores, letters] = [
    await recordsOf(LOG_TOPICS.frames),
    await recordsOf(LOG_TOPICS.scores),
    await recordsOf(LOG_TOPICS.deadLetters),
  ];
  return {
    appended: frames.map(({ value }) => frameEntry(frameCodec.decode(value), laneTotal)),
    scored: scores
      .filter(({ value }) => value[0] === SCORE)
      .flatMap(({ value }) => scoreCodec.decode(value).parts.map((part) => frameEntry(part, laneTotal))),
    refused: letters.map(({ value }) => deadLetterCodec.decode(value).code),
  };
}

async function readTopic(log: Log, topic: string, marks: ReadonlyMap<number, number> = new Map()): Promise<LogRecord[]> {
  const records: LogRecord[] = [];
  const never = new AbortController().signal;
  for (const { partition, earliest, latest } of await log.ends(topic)) {
    let offset = Math.max(earliest, marks.get(partition) ?? 0);
    while (offset < latest) {
      const read = await log.read({ topic, partition, offset }, READ, never);
      if (read.length === 0) break; // offsets may have gaps, also at the end
      records.push(...read);
      offset = read.at(-1)!.offset + 1;
    }
  }
  return records;
}
