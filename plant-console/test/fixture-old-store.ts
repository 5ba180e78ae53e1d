import type { Gap } from "@smile/schemas/envelopes";
import type { AlertRule } from "../src/decide.ts";
import type { Risk } from "../src/score-reader.ts";
import type { Batch } from "../src/store.ts";

export const headIds = ["a".repeat(64), "b".repeat(64)] as const;
export const rules = new Map<string, AlertRule>([
  [headIds[0], { direction: "above", raise: 0.8, clear: 0.5 }],
  [headIds[1], { direction: "below", raise: 20, clear: 40 }],
]);
export const machines = ["pump-0", "pump-1", "fan-2", "fan-3"];

/**
 * What the console of release with store version 2 had committed into `store-v2.sql`: two gateways, two heads, of which the second has
 * two outputs, late windows, lanes that came later, a machine that moved to another block, open and cleared alerts, a gap.
 */
export function oldCommits(): Batch[] {
  return Array.from({ length: 24 }, (_, i) => {
    const risks = headIds.flatMap((headId, head) => Array.from({ length: 1 + head }, (_, output) => frame(i, headId, output)).flat());
    const gaps = i === 9 ? [gap(3, 6), gap(40, 44)] : [];
    return { risks, gaps, cursor: { topicId: "scores", partition: 0, next: i + 1 }, storedAtMs: 5000 + i };
  });
}

function frame(i: number, headId: string, output: number): Risk[] {
  const lateBy = i % 7 === 6 ? 3 : 0;
  const moved = i >= 20;
  return machines.flatMap((machine, lane) => {
    if (i === 4 && lane > 1) return []; // their lanes were leased to nobody when frame 4 came
    const again = i === 5 && lane > 1 ? [4, 5] : [i];
    return again.map((sequence) => {
      const wave = Math.sin(sequence * 0.7 + lane + output);
      const risk = headId === headIds[0] ? (wave + 1) / 2 : 30 + 25 * wave;
      const id = { gateway: lane < 2 ? "g1" : "g2", epoch: 1, sequence, block: moved && lane === 3 ? 7 : 0, lane, headId, output };
      const frameTimeMs = (sequence - lateBy) * 1000;
      return { ...id, machine, frameTimeMs, closedAtMs: frameTimeMs + 3, score: Math.round(risk * 1000), risk };
    });
  });
}

function gap(fromSequence: number, toSequence: number): Gap {
  const frames = toSequence - fromSequence + 1;
  const times = { fromTimeMs: fromSequence * 1000, toTimeMs: toSequence * 1000 };
  const what = { frames, windows: 2 * frames, reason: "bytes" as const, signature: new Uint8Array(0) };
  return { plant: "essen", gateway: "g1", epoch: 1, fromSequence, toSequence, ...times, ...what };
}
