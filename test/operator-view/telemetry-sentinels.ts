import { type Params, residueBits } from "@smile/he/params";
import { pack, setResidue } from "@smile/he/residues";
import type { StoredRisk } from "@smile/plant-console/store";
import { double, floatRuns, integerRuns, runs, text, wholeNumber } from "./forms.ts";
import type { Sentinel } from "./sentinel.ts";
import { GATEWAYS, MACHINES, STRAY_MACHINE, type Telemetry } from "./telemetry.ts";

/** As many features in a row are looked for. */
export const FEATURE_RUN = 8;
/** Scores in 32 bits, one after the other: of a machine in time, and of the machines at one time. */
const SCORE_RUN = 3;

/** All that gateways read and make of it before they encrypt it. */
export function telemetrySentinels({ rows, windows, lifted }: Telemetry, params: Params): Sentinel[] {
  const machines = [...GATEWAYS.flatMap((gateway) => MACHINES[gateway]), STRAY_MACHINE, "sentinel-broken-81d5"];
  const all = [...rows.values()].flat();
  return [
    ...machines.map((machine) => text("machine name", machine)),
    text("line of a source", "sentinel-value-92e6"),
    ...all.flatMap(({ values }) => Object.values(values).flatMap((value) => double("sensor value", value))),
    ...all.flatMap(({ values }) => floatRuns("sensor value", Object.values(values), 2)),
    ...[...Map.groupBy(all, ({ machine }) => machine).values()].flatMap(inTime),
    ...lifted.flatMap((vector) => [...vector].flatMap((value) => double("lifted value", value))),
    ...lifted.flatMap((vector) => floatRuns("lifted value", [...vector], 2)),
    ...[...windows.values()].flat().flatMap(({ features }) => featureSentinels([...features], params)),
  ];
}

/** The readings of each sensor of one machine. */
function inTime(rows: readonly { readonly values: Readonly<Record<string, number>> }[]): Sentinel[] {
  return Object.keys(rows[0]!.values).flatMap((sensor) => {
    return floatRuns(
      "sensor value",
      rows.map(({ values }) => values[sensor]!),
      2,
    );
  });
}

/** Features as integers of every kind, and as the coefficients that the scheme would encrypt. */
function featureSentinels(features: readonly number[], params: Params): Sentinel[] {
  const kind = "features";
  const modulo = (modulus: bigint) =>
    features.map((feature) => {
      const word = Buffer.alloc(8);
      word.writeBigUInt64LE((BigInt(feature) + modulus) % modulus);
      return word;
    });
  const found = [
    ...integerRuns(kind, features, FEATURE_RUN, 8),
    ...runs(kind, "coefficients modulo t", modulo(BigInt(params.t)), FEATURE_RUN),
    ...runs(kind, "coefficients modulo q", modulo(params.q), FEATURE_RUN),
  ];
  // Packed as ciphertexts are: a lane begins with a byte, and so does every eighth coefficient.
  for (let from = 0; from + FEATURE_RUN <= features.length; from += FEATURE_RUN) {
    const residues = new Uint32Array(2 * FEATURE_RUN);
    for (let i = 0; i < FEATURE_RUN; i++) setResidue(residues, i, BigInt(features[from + i]!), params.q);
    found.push({ kind, form: "packed coefficients", bytes: Buffer.from(pack(residues, residueBits(params))) });
  }
  return found;
}

/** What the plant's console has decrypted. */
export function riskSentinels(risks: readonly StoredRisk[]): Sentinel[] {
  const series = [
    ...Map.groupBy(risks, ({ machine }) => machine).values(),
    ...Map.groupBy(risks, ({ frameTimeMs }) => frameTimeMs).values(),
    ...Map.groupBy(risks, ({ gateway, sequence }) => `${gateway} ${sequence}`).values(),
  ].map((together) => together.toSorted((a, b) => a.frameTimeMs - b.frameTimeMs || a.lane - b.lane));
  return [
    ...risks.map(({ score }) => wholeNumber("score", score)),
    ...risks.flatMap(({ risk }) => double("risk", risk)),
    ...series.flatMap((together) => {
      const scores = together.map(({ score }) => score);
      const inWords = integerRuns("score", scores, SCORE_RUN, 32);
      const risksOf = together.map(({ risk }) => risk);
      return [...inWords, ...floatRuns("risk", risksOf, 2)];
    }),
  ];
}
