import { expect, it } from "vitest";
import { createLogger } from "../src/logging.ts";

const lines = () => {
  const written: string[] = [];
  return { written, to: { write: (line: string) => void written.push(line) } };
};

it("puts the service and the part on every line", () => {
  const { written, to } = lines();
  createLogger({ service: "ingress", to }).child({ part: "broker" }).info("listening");
  expect(JSON.parse(written[0]!)).toMatchObject({ service: "ingress", part: "broker", msg: "listening", level: 30 });
});

it("never writes keys, windows or scores, at any of the three levels", () => {
  const { written, to } = lines();
  const logger = createLogger({ service: "console", to });
  logger.info({ secretKey: "SECRET", frame: { windows: [[987654]], inner: { scores: [987654] } } }, "a");
  logger.info({ passphrase: "SECRET", plant: { identityKey: "SECRET" } }, "a plant");
  logger.child({ plant: { password: "SECRET" } }).info({ score: 987654, head: { risk: 987654 } }, "b");
  expect(written.join("")).not.toMatch(/SECRET|987654/);
});

it("keeps counts, ids and sizes", () => {
  const { written, to } = lines();
  createLogger({ service: "console", to }).info({ windows: 32, bytes: 27_648, machine: "pump-3", keyId: "k1" }, "a");
  expect(JSON.parse(written[0]!)).toMatchObject({ windows: 32, bytes: 27_648, machine: "pump-3", keyId: "k1" });
});

it("writes nothing below its level", () => {
  const { written, to } = lines();
  createLogger({ service: "console", level: "warn", to }).info("quiet");
  expect(written).toEqual([]);
});
