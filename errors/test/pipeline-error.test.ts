import { describe, expect, it } from "vitest";
import { catalogue } from "../src/catalogue.ts";
import { type ErrorCode, isPipelineError, PipelineError } from "../src/pipeline-error.ts";

const codes = Object.keys(catalogue) as ErrorCode[];

describe("error catalogue", () => {
  it.each(codes)("%s is upper case, says whether trying again helps, and has a remedy that completes 'Fix: ... .'", (code) => {
    const { retriable, fix } = catalogue[code];
    expect(code).toMatch(/^[A-Z]+(_[A-Z]+)*$/);
    expect(typeof retriable).toBe("boolean");
    expect(fix.length).toBeGreaterThan(10);
    expect(fix).toMatch(/^[a-z]/);
    expect(fix).not.toMatch(/[.\s]$/);
  });
});

describe("pipeline error", () => {
  it("says what was wrong, its code and its remedy, in that order", () => {
    const error = new PipelineError("CONFIG_INVALID", "kafka.brokers: must not be empty");
    expect(error.message).toBe("kafka.brokers: must not be empty [CONFIG_INVALID] Fix: correct the named keys and start again.");
    expect(error.name).toBe("PipelineError");
    expect(error).toBeInstanceOf(Error);
    expect(String(error)).toContain("PipelineError: kafka.brokers");
  });

  it("carries facts and cause, and only what it was given", () => {
    const cause = new Error("underneath");
    const error = new PipelineError("FRAME_WRONG_LENGTH", "too short", { length: 3 }, cause);
    expect(error.facts).toEqual({ length: 3 });
    expect(error.cause).toBe(cause);
    const bare = new PipelineError("STOPPED", "the service stops");
    expect(bare.facts).toEqual({});
    expect("cause" in bare).toBe(false);
  });

  it.each(codes)("%s is retriable exactly when the catalogue says so", (code) => {
    expect(new PipelineError(code, "it went wrong").retriable).toBe(catalogue[code].retriable);
  });

  it("can be built again from its code, sentence and facts, on another thread for instance", () => {
    const error = new PipelineError("LANES_INVALID", "lane 9 is not one of 8", { lane: 9 });
    const again = new PipelineError(error.code, error.what, error.facts);
    expect(again.message).toBe(error.message);
    expect(again.facts).toEqual(error.facts);
  });

  it("is told from other errors, and by its code", () => {
    const error: unknown = new PipelineError("STOPPED", "the service stops");
    expect(isPipelineError(error)).toBe(true);
    expect(isPipelineError(error, "STOPPED")).toBe(true);
    expect(isPipelineError(error, "KEY_MISMATCH")).toBe(false);
    for (const other of [new Error("STOPPED"), { code: "STOPPED" }, "STOPPED", null, undefined]) expect(isPipelineError(other)).toBe(false);
  });
});
