import { PassThrough, Writable } from "node:stream";
import { createLogger } from "@smile/runtime/logging";
import { expect, it } from "vitest";
import { LinePrinter } from "../src/line-printer.ts";

function logged() {
  const lines: string[] = [];
  const to = new PassThrough().on("data", (chunk) => lines.push(String(chunk)));
  return { logger: createLogger({ service: "test", to }), warnings: () => lines.length };
}

/** A reader that takes one line each time that it is told to. */
function slowReader() {
  const taken: string[] = [];
  let release: (() => void) | undefined;
  const out = new Writable({
    decodeStrings: false,
    write(chunk, _, done) {
      if (chunk !== "") taken.push(String(chunk));
      release = done;
    },
  });
  return { out, taken, take: () => release?.() };
}

it("prints every line to a reader that keeps up", async () => {
  const out = new PassThrough();
  await using printer = new LinePrinter(out, logged().logger);
  for (const text of ["a", "b", "c"]) printer.line(text);
  expect(String(out.read())).toBe("a\nb\nc\n");
});

it("leaves lines out for a reader that stalls, warns once, and goes on when it reads again", async () => {
  const { logger, warnings } = logged();
  const { out, taken, take } = slowReader();
  const printer = new LinePrinter(out, logger);
  const kibibyte = "x".repeat(1023);
  for (let i = 0; i < 2000; i++) printer.line(kibibyte);
  expect(out.writableLength).toBeLessThanOrEqual((1 << 20) + 1024);
  expect(warnings()).toBe(1);
  while (out.writableLength > 0) {
    take();
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(taken.length).toBeGreaterThan(1000);
  printer.line("newest");
  expect(taken.at(-1)).toBe("newest\n");
});

it("waits for the last lines", async () => {
  const { out, taken, take } = slowReader();
  const printer = new LinePrinter(out, logged().logger);
  printer.line("first");
  printer.line("last");
  const ended = printer[Symbol.asyncDispose]();
  const taking = setInterval(take, 1);
  await ended;
  clearInterval(taking);
  expect(taken).toEqual(["first\n", "last\n"]);
});

it("goes on without a reader that has gone, and warns once", async () => {
  const { logger, warnings } = logged();
  const out = new Writable({
    write(_chunk, _encoding, done) {
      done(new Error("write EPIPE"));
    },
  });
  await using printer = new LinePrinter(out, logger);
  printer.line("a");
  await new Promise((resolve) => setImmediate(resolve));
  printer.line("b");
  expect(warnings()).toBe(1);
});
