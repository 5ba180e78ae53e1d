import type { Dice } from "../fuzz/mutate.ts";
import type { Gateway, Party } from "./party.ts";

/** What is published on a connection to the broker of frames: whose certificate it shows, the topic, and the payload. */
export type FrameCase = {
  readonly via: { readonly party: Party; readonly gateway: Gateway };
  readonly topic: string;
  readonly payload: Uint8Array;
};

export const pick = <T>(items: readonly T[], dice: Dice): T => items[dice(items.length)]!;

export function randomBytes(length: number, dice: Dice): Uint8Array {
  return Uint8Array.from({ length }, () => dice(256));
}

/** The bytes with some of their bits turned, at least one. */
export function withFlips(bytes: Uint8Array, dice: Dice, from = 0, to = bytes.length): Uint8Array {
  const flipped = Uint8Array.from(bytes);
  const at = new Set(Array.from({ length: pick([1, 1, 2, 8], dice) }, () => 8 * from + dice(8 * (to - from))));
  for (const bit of at) flipped[bit >> 3]! ^= 1 << (bit & 7);
  return flipped;
}

/** 64 hexadecimal digits. */
export function randomHash(dice: Dice): string {
  return Buffer.from(randomBytes(32, dice)).toString("hex");
}
