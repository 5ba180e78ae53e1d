import { inflateRawSync } from "node:zlib";

/** The same bytes, read in another way. */
export type View = { readonly reading: string; readonly bytes: Buffer };

/**
 * What is text within the bytes, decoded: so a value is found however it was cut, wrapped or nested, without a pattern for each.
 * Base64 of both alphabets, over line ends that JSON may have escaped; hex with or without separators; UTF-16; lists of small whole
 * numbers, as JSON has of an array of bytes or of features; gzip and zlib.
 */
export function viewsOf(bytes: Buffer): View[] {
  const text = bytes.toString("latin1");
  return [...base64(text), ...hex(text), ...utf16(text), ...lists(text), ...compressed(bytes)].filter((view) => view.bytes.length > 0);
}

/** Decoded runs stand apart, so that nothing is found across two of them. */
const GAP = Buffer.from([0]);

function joined(runs: readonly Buffer[]): Buffer {
  return Buffer.concat(runs.flatMap((run) => [run, GAP]));
}

const BASE64 = /[A-Za-z0-9+/_-]{8,}(?:(?:\r?\n|\\r\\n|\\n)[A-Za-z0-9+/_-]{4,})*/g;
const LINE_END = /\r?\n|\\r\\n|\\n/g;

/** A run may begin with letters that are no part of it: one of four beginnings is right. */
function base64(text: string): View[] {
  const runs = Array.from(text.matchAll(BASE64), ([run]) => run.replaceAll(LINE_END, ""));
  return [0, 1, 2, 3].map((from) => ({
    reading: `base64 from ${from}`,
    bytes: joined(runs.map((run) => Buffer.from(run.slice(from), "base64"))),
  }));
}

const HEX = /[0-9a-fA-F](?:[ :-]?[0-9a-fA-F]){11,}/g;

function hex(text: string): View[] {
  const runs = Array.from(text.matchAll(HEX), ([run]) => run.replaceAll(/[ :-]/g, ""));
  // A half byte at the end would be dropped by Node, and it says so by stopping there: nothing else is lost.
  return [0, 1].map((from) => ({ reading: `hex from ${from}`, bytes: joined(runs.map((run) => Buffer.from(run.slice(from), "hex"))) }));
}

const UTF16 = [
  { reading: "UTF-16 little endian", runs: /(?:[^\0]\0){6,}/g, from: 0 },
  { reading: "UTF-16 big endian", runs: /(?:\0[^\0]){6,}/g, from: 1 },
];

function utf16(text: string): View[] {
  return UTF16.map(({ reading, runs, from }) => ({
    reading,
    bytes: joined(Array.from(text.matchAll(runs), ([run]) => Buffer.from(run, "latin1").filter((_, i) => i % 2 === from) as Buffer)),
  }));
}

/** `[1,-2,3]`, `1 2 3`, and what JSON makes of a typed array: `{"0":1,"1":-2}`. */
const LIST = /-?\d{1,3}(?:(?:,"\d+":|,\s*|\s+)-?\d{1,3}){5,}/g;

function lists(text: string): View[] {
  const numbersOf = (run: string) => run.replaceAll(/,"\d+":/g, ",").split(/,\s*|\s+/);
  const runs = Array.from(text.matchAll(LIST), ([run]) => Buffer.from(numbersOf(run).map((number) => Number(number) & 255)));
  return [{ reading: "list of numbers", bytes: joined(runs) }];
}

/** What a compressed stream begins with, and how much stands before its data. */
const COMPRESSED = [
  { start: Buffer.from([0x1f, 0x8b, 0x08]), skip: 10 },
  ...[0x01, 0x9c, 0xda].map((level) => ({ start: Buffer.from([0x78, level]), skip: 2 })),
];

function compressed(bytes: Buffer): View[] {
  return COMPRESSED.flatMap(({ start, skip }) => {
    const unpacked: Buffer[] = [];
    for (let at = bytes.indexOf(start); at >= 0; at = bytes.indexOf(start, at + 1)) {
      try {
        // The data alone: Node minds what follows a whole stream, and not what follows its data.
        unpacked.push(inflateRawSync(bytes.subarray(at + skip), { maxOutputLength: 1 << 26 }));
      } catch {
        // Random bytes that look like a beginning.
      }
    }
    return [{ reading: skip === 2 ? "zlib" : "gzip", bytes: joined(unpacked) }];
  });
}
