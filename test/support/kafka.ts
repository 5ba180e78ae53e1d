import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTestKafka, type TestKafka, wayToKafka } from "./kafka-process.ts";

export type { TestKafka };

/** The first time, Kafka is fetched. */
const fetchMs = 300_000;

/**
 * Tests that need a Kafka: one broker for all of them, started before the first. Where there is no way to have one, a skipped test
 * says why in its name; with SMILE_REQUIRE_KAFKA=1 it fails instead.
 * @param body declares the tests; `kafka` answers inside of tests and hooks
 */
export async function describeWithKafka(name: string, body: (kafka: () => TestKafka) => void): Promise<void> {
  const way = await wayToKafka();
  if (way.kind === "none") {
    describe(name, () => {
      it.skipIf(process.env.SMILE_REQUIRE_KAFKA !== "1")(`NOT RUN without a Kafka: ${way.reason}`, () => {
        expect.fail(`SMILE_REQUIRE_KAFKA is set, but ${way.reason}`);
      });
    });
    return;
  }
  describe(`${name} (Kafka by ${way.kind === "docker" ? "Docker" : "Java and Maven"})`, () => {
    let kafka: TestKafka | undefined;
    beforeAll(async () => {
      kafka = await startTestKafka();
    }, fetchMs);
    afterAll(async () => {
      await kafka?.[Symbol.asyncDispose]();
    });
    body(() => kafka!);
  });
}
