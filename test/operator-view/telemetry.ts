import type { LiftedWindow, Row, StatisticsLift } from "@smile/features/spec";
import { StatisticsState } from "@smile/features/statistics-lift";
import { WindowStream } from "@smile/features/window-stream";
import type { KeyMode, Scheme } from "@smile/he/params";
import { type Deployed, deploy } from "@smile/model-service/deploy";
import { type Dice, diceOf } from "../fuzz/mutate.ts";

const SEED = 20_261_122;
const SENSORS = ["a", "b", "c", "d"];
const LIFT = { kind: "statistics", statistics: ["mean", "last", "slope", "deviation"], minimumRows: 2 } satisfies StatisticsLift;
/** F */
export const FEATURES = SENSORS.length * LIFT.statistics.length;
const WINDOW_MS = 1000;
const ROWS_PER_WINDOW = 3;
const WINDOWS = 12;
const FIRST_MS = 1_790_000_000_000;

/**
 * Sensors read between 1 and 9 * 10^12, and every bit of a reading is drawn: so all of its renderings have the digits that it takes to tell
 * it from any other number, be it rounded to none behind the point.
 */
const LEAST = 1e12;
const reading = (dice: Dice) => LEAST * (1 + (8 * (dice(2 ** 26) * 2 ** 26 + dice(2 ** 26))) / 2 ** 52);
/** Of mean, last, slope and deviation of such readings. */
const STANDARDISE = { mean: [5e12, 5e12, 0, 1.7e12], deviation: [1.4e12, 2.3e12, 5e12, 0.8e12] };

export const MACHINES = {
  "hall-1": ["sentinel-press-1a6e", "sentinel-press-2b7f", "sentinel-press-3c80"],
  "hall-2": ["sentinel-fan-4d91", "sentinel-fan-5ea2", "sentinel-fan-6fb3"],
} as const;
export type GatewayName = keyof typeof MACHINES;
export const GATEWAYS = Object.keys(MACHINES) as GatewayName[];
/** It sends rows and has no lane. */
export const STRAY_MACHINE = "sentinel-stray-70c4";
/** What a gateway is given instead of a row, here and there. */
export const MALFORMED_LINE = '{"machine": "sentinel-broken-81d5", "timeMs": 1, "values": {"a": "sentinel-value-92e6"}}';

/**
 * One head with weights and a bias that no other test has. Its scores have seven digits, and its risks are real numbers as large as the
 * readings: a probability with three digits is in every log.
 */
export function sentinelDeployment(scheme: Scheme, keyMode: KeyMode): Deployed {
  const dice = diceOf(SEED);
  const weights = Array.from({ length: FEATURES }, () => dice(2047) - 1023);
  const bias = 1_500_000;
  return deploy({
    featureSet: {
      kind: "feature-set",
      version: 1,
      name: "seen from outside",
      sensors: SENSORS,
      window: { lengthMs: WINDOW_MS, hopMs: WINDOW_MS, latenessMs: 0 },
      regimes: null,
      lift: LIFT,
      standardise: { mean: SENSORS.flatMap(() => STANDARDISE.mean), deviation: SENSORS.flatMap(() => STANDARDISE.deviation), clip: 4 },
      fourier: null,
      quantise: { bits: 8 },
    },
    candidates: [
      {
        head: {
          outputs: 1,
          weights: [weights],
          bias: [bias],
          scale: 1,
          worstCase: weights.reduce((sum, w) => sum + Math.abs(w) * 127, bias),
        },
        card: {
          name: "seen from outside",
          outputs: ["cost"],
          calibration: { slope: 1_234_567.891_234_5, intercept: 987_654.321_987 },
          link: "identity",
          range: null,
          unit: "cost",
          alert: { direction: "above", raise: 1.9e12, clear: 1.8e12 },
          training: { data: "none", machines: 1, windows: 1, metrics: {} },
          codeVersion: "test",
        },
      },
    ],
    keyMode,
    maxMerges: 8,
    modelPrivacy: "compact",
    scheme,
  });
}

export type Telemetry = {
  /** By gateway, in the order in which they are sent. */
  readonly rows: ReadonlyMap<GatewayName, readonly Row[]>;
  /** By gateway, as its lift makes them. */
  readonly windows: ReadonlyMap<GatewayName, readonly LiftedWindow[]>;
  /** Statistics of each window before they are rounded to features, as they come and standardised. */
  readonly lifted: readonly Float64Array[];
};

export function sentinelTelemetry({ deployment: { featureSet } }: Deployed): Telemetry {
  const dice = diceOf(SEED + 1);
  const rows = new Map(GATEWAYS.map((gateway) => [gateway, rowsOf(MACHINES[gateway], dice)]));
  const windows = new Map<GatewayName, readonly LiftedWindow[]>();
  for (const [gateway, ofGateway] of rows) {
    const stream = new WindowStream(featureSet);
    windows.set(gateway, [...ofGateway.flatMap((row) => stream.push(row)), ...stream.flush()]);
  }
  return { rows, windows, lifted: [...rows.values()].flatMap((ofGateway) => liftedOf(ofGateway)) };
}

function rowsOf(machines: readonly string[], dice: Dice): Row[] {
  const times = Array.from({ length: WINDOWS * ROWS_PER_WINDOW }, (_, i) => FIRST_MS + ((i + 0.5) * WINDOW_MS) / ROWS_PER_WINDOW);
  return times.flatMap((timeMs) =>
    machines.map((machine) => ({
      machine,
      timeMs: Math.round(timeMs),
      values: Object.fromEntries(SENSORS.map((sensor) => [sensor, reading(dice)])),
    })),
  );
}

function liftedOf(rows: readonly Row[]): Float64Array[] {
  const byWindow = Map.groupBy(rows, ({ machine, timeMs }) => `${machine} ${Math.ceil(timeMs / WINDOW_MS)}`);
  return [...byWindow.values()].flatMap((ofWindow) => {
    const state = new StatisticsState(LIFT, SENSORS.length, WINDOW_MS, ROWS_PER_WINDOW);
    for (const { timeMs, values } of ofWindow)
      state.add(
        timeMs,
        Float64Array.from(SENSORS, (sensor) => values[sensor]!),
      );
    const lifted = new Float64Array(FEATURES);
    state.read(Math.ceil(ofWindow[0]!.timeMs / WINDOW_MS) * WINDOW_MS, lifted);
    const { mean, deviation } = STANDARDISE;
    return [lifted, lifted.map((value, i) => (value - mean[i % mean.length]!) / deviation[i % deviation.length]!)];
  });
}
