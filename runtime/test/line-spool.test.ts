import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LineSpool } from "../src/line-spool.ts";

const line = (length: number) => "x".repeat(length - 1);

describe("LineSpool", () => {
  it("hands out what was added, in order, in segments of bounded size", () => {
    const spool = new LineSpool(400, 100);
    const lines = Array.from({ length: 12 }, (_, i) => `line ${i}`.padEnd(29, "."));
    for (const each of lines) expect(spool.add(each)).toBe(0);
    const taken: string[] = [];
    for (let segment = spool.take(); segment; segment = spool.take()) {
      expect(segment.text.length + 1).toBeLessThanOrEqual(100);
      taken.push(...segment.text.split("\n"));
      spool.remove();
    }
    expect(taken).toEqual(lines);
    expect(spool.bytes).toBe(0);
  });

  it("drops the oldest segment for a line that finds no room, and tells how many lines that were", () => {
    const spool = new LineSpool(400, 100);
    for (let i = 0; i < 8; i++) spool.add(`${i}${line(49)}`);
    expect(spool.add(line(50))).toBe(2);
    expect(spool.take()?.text).toMatch(/^2/);
  });

  it("never drops the segment that is being sent", () => {
    const spool = new LineSpool(400, 100);
    for (let i = 0; i < 8; i++) spool.add(`${i}${line(49)}`);
    const sent = spool.take();
    spool.add(line(50));
    expect(sent?.text).toMatch(/^0/);
    spool.remove();
    expect(spool.take()?.text).toMatch(/^4/);
  });

  it("refuses a line that no segment can hold", () => {
    const spool = new LineSpool(400, 100);
    expect(spool.add(line(101))).toBe(1);
    expect(spool.bytes).toBe(0);
  });

  it("counts bytes as they are sent, not characters", () => {
    const spool = new LineSpool(400, 100);
    spool.add("ü");
    expect(spool.bytes).toBe(3);
    expect(spool.take()).toEqual({ text: "ü", lines: 1 });
  });

  it("refuses segments of which four do not fit", () => {
    expect(() => new LineSpool(400, 101)).toThrow(RangeError);
  });

  it("keeps its bound and loses no line uncounted, whatever happens in which order", () => {
    const step = fc.oneof(
      { weight: 8, arbitrary: fc.record({ kind: fc.constant("add" as const), bytes: fc.integer({ min: 1, max: 120 }) }) },
      { weight: 1, arbitrary: fc.constant({ kind: "take" as const }) },
      { weight: 1, arbitrary: fc.constant({ kind: "remove" as const }) },
      { weight: 1, arbitrary: fc.constant({ kind: "putBack" as const }) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const spool = new LineSpool(400, 100);
        let added = 0;
        let lost = 0;
        let sent = 0;
        let taken: number | undefined;
        for (const each of steps) {
          if (each.kind === "add") {
            added++;
            lost += spool.add(line(each.bytes));
          } else if (each.kind === "take" && taken === undefined) taken = spool.take()?.lines;
          else if (each.kind === "remove" && taken !== undefined) {
            sent += taken;
            taken = undefined;
            spool.remove();
          } else if (each.kind === "putBack" && taken !== undefined) {
            taken = undefined;
            spool.putBack();
          }
          expect(spool.bytes).toBeLessThanOrEqual(400);
        }
        expect(spool.lines + lost + sent).toBe(added);
      }),
      { seed: 11 },
    );
  });
});
