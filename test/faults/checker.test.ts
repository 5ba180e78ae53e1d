import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { check, isGood } from "./checker.ts";
import type { FrameEntry, Journals, RiskEntry } from "./journals.ts";

const RULE = { raise: 0.5, clear: 0.15 };

function frame(sequence: number, lanes: readonly number[] = [0, 1]): FrameEntry {
  return { gateway: "hall-1", epoch: 7, sequence, block: 0, lanes, frameTimeMs: 1000 * sequence };
}

function risksOf({ lanes, ...frame }: FrameEntry, risk = 0.1): RiskEntry[] {
  return lanes.map((lane) => ({ ...frame, lane, headId: "h", output: 0, machine: `m${lane}`, score: frame.sequence * 10 + lane, risk }));
}

/** The journals of a run in which everything arrived, in this order. */
function journalsOf(frames: readonly FrameEntry[], risks = frames.flatMap((each) => risksOf(each))): Journals {
  const newest = Map.groupBy(risks, ({ machine }) => machine);
  return {
    acknowledged: frames,
    appended: frames,
    scored: frames,
    risks,
    alerts: [],
    newest: [...newest].map(([machine, all]) => ({ machine, frameTimeMs: Math.max(...all.map(({ frameTimeMs }) => frameTimeMs)) })),
    refused: [],
    provoked: [],
    gaps: [],
    expected: risks.map(({ gateway, machine, frameTimeMs, score }) => ({ gateway, machine, endMs: frameTimeMs, score })),
  };
}

const frames = [frame(1), frame(2), frame(3)];
const whole = journalsOf(frames);
const sequence = fc.integer({ min: 1, max: 3 });

describe("the checker", () => {
  it("finds nothing where everything arrived once, in whatever order", () => {
    fc.assert(
      fc.property(fc.shuffledSubarray(frames, { minLength: 3 }), (order) => {
        const verdict = check(journalsOf(order), RULE);
        expect(isGood(verdict)).toBe(true);
        expect(verdict).toMatchObject({ acknowledged: 6, risks: 6 });
      }),
      { seed: 1 },
    );
  });

  it("counts each acknowledged window without a risk as lost, before the first place that does not know it", () => {
    fc.assert(
      fc.property(fc.uniqueArray(sequence, { minLength: 1 }), fc.constantFrom("log", "score", "risk"), (gone, place) => {
        const without = <T extends { sequence: number }>(all: readonly T[]) => all.filter((each) => !gone.includes(each.sequence));
        const journals = {
          ...whole,
          risks: without(whole.risks),
          scored: place === "risk" ? whole.scored : without(whole.scored),
          appended: place === "log" ? without(whole.appended) : whole.appended,
        };
        const verdict = check(journals, RULE);
        expect(verdict.lost).toBe(2 * gone.length);
        expect(verdict.lostBefore).toEqual({ log: 0, score: 0, risk: 0, [place]: 2 * gone.length });
        expect(isGood(verdict)).toBe(false);
      }),
      { seed: 2 },
    );
  });

  it("counts a second risk of a window as duplicated, also under another message id", () => {
    const again = [...whole.risks, { ...whole.risks[0]!, sequence: 4 }];
    expect(check({ ...whole, acknowledged: [...frames, frame(4, [0])], risks: again }, RULE)).toMatchObject({ duplicated: 1, lost: 0 });
  });

  it("counts a risk that nobody acknowledged as unexpected", () => {
    expect(check({ ...whole, acknowledged: frames.slice(1) }, RULE)).toMatchObject({ unexpected: 2, acknowledged: 4, lost: 0 });
  });

  it("counts a late window that moved an alert, and not one that was left out", () => {
    // Machine 0: high at 1 s and 3 s, low at 2 s, which arrives last.
    const risks = [risksOf(frame(1, [0]), 0.9), risksOf(frame(3, [0]), 0.9), risksOf(frame(2, [0]), 0.1)].flat();
    const journals = journalsOf([frame(1, [0]), frame(3, [0]), frame(2, [0])], risks);
    const leftOut = [{ machine: "m0", raisedAtMs: 1000, clearedAtMs: null }];
    const moved = [{ machine: "m0", raisedAtMs: 1000, clearedAtMs: 2000 }];
    expect(check({ ...journals, alerts: leftOut }, RULE)).toMatchObject({ late: 1, outOfOrder: 0 });
    expect(check({ ...journals, alerts: moved }, RULE).outOfOrder).toBe(1);
    expect(check({ ...journals, alerts: leftOut, newest: [{ machine: "m0", frameTimeMs: 2000 }] }, RULE).outOfOrder).toBe(1);
  });

  it("counts windows of the rows that have another score than the head gives", () => {
    const [first, ...rest] = whole.risks;
    expect(check({ ...whole, risks: [{ ...first!, score: -1 }, ...rest] }, RULE).wrong).toBe(1);
  });

  it("counts windows of the rows that are missing and that no gap told of, and gaps that tell of more than is missing", () => {
    const expected = [4000, 5000].map((endMs) => ({ gateway: "hall-1", machine: "m0", endMs, score: 1 }));
    const journals = { ...whole, expected: [...whole.expected, ...expected] };
    const gap = { gateway: "hall-1", epoch: 7, fromSequence: 4, toSequence: 5, windows: 2, fromTimeMs: 4000, toTimeMs: 5000 };
    expect(check(journals, RULE)).toMatchObject({ wrong: 2, dropped: 0 });
    expect(check({ ...journals, gaps: [gap] }, RULE)).toMatchObject({ wrong: 0, dropped: 2 });
    expect(check({ ...journals, gaps: [{ ...gap, toSequence: 4, windows: 1, toTimeMs: 4000 }] }, RULE)).toMatchObject({ wrong: 1 });
    expect(check({ ...whole, gaps: [gap] }, RULE)).toMatchObject({ wrong: 2, dropped: 2 });
    // Frame 3, with two windows, had arrived.
    expect(check({ ...journals, gaps: [{ ...gap, fromSequence: 3, windows: 4, fromTimeMs: 3000 }] }, RULE)).toMatchObject({
      wrong: 0,
      dropped: 2,
    });
  });

  it("counts bad messages that were taken without a dead letter", () => {
    const provoked = ["FRAME_MALFORMED", "FRAME_MALFORMED", "KEY_UNKNOWN"];
    expect(check({ ...whole, provoked, refused: ["FRAME_MALFORMED", "FRAME_WRONG_HASH"] }, RULE).unrefused).toBe(2);
    expect(check({ ...whole, provoked, refused: [...provoked, "KEY_UNKNOWN"] }, RULE).unrefused).toBe(0);
  });
});
