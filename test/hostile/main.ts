import { parseArgs } from "node:util";
import { exitCodes } from "@smile/runtime/lifecycle";
import { hasPassed, runHostile } from "./run.ts";

const USAGE = `npm run test:hostile -- [options]

Sends hostile frames, batches, deliveries, MQTT and registers at real services while honest gateways go on, and looks for what was taken,
what fell over, and which good window is missing.

  --seed N       default 1
  --cases N      default 10000
  --only TEXT    only kinds whose name matches this regular expression
  --json         the report as one JSON object on the last line
  --help         this text
`;

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    cases: { type: "string", default: "10000" },
    only: { type: "string" },
    json: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
if (values.help) {
  process.stdout.write(USAGE);
  process.exit(exitCodes.stopped);
}
const report = await runHostile({
  seed: whole(values.seed, "--seed"),
  cases: whole(values.cases, "--cases"),
  ...(values.only !== undefined && { only: new RegExp(values.only) }),
  say: (text) => process.stderr.write(`${text}\n`),
});
process.stdout.write(values.json ? `${JSON.stringify(report)}\n` : `${JSON.stringify(report, null, 2)}\n`);
process.exit(hasPassed(report) ? exitCodes.stopped : exitCodes.failed);

function whole(text: string, option: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 0) return value;
  process.stderr.write(`${option} is ${text}; it must be a whole number\n\n${USAGE}`);
  process.exit(exitCodes.misconfigured);
}
