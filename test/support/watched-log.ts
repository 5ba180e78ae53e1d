import type { Log, OutRecord } from "@smile/runtime/log";

/**
 * A real log that a test stands in front of.
 * @param before runs before each append; while it is pending the append waits, and when it rejects the append fails
 */
export function watchedLog(log: Log, before: (records: readonly OutRecord[]) => Promise<void>): Log {
  return {
    ensureTopics: (topics) => log.ensureTopics(topics),
    append: async (records) => {
      await before(records);
      return log.append(records);
    },
    join: (group, topics) => log.join(group, topics),
    read: (from, limits, signal) => log.read(from, limits, signal),
    topicId: (topic) => log.topicId(topic),
    ends: (topic) => log.ends(topic),
    groupLag: (group, topic) => log.groupLag(group, topic),
    [Symbol.asyncDispose]: () => log[Symbol.asyncDispose](),
  };
}
