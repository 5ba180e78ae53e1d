import type { Cursor } from "@smile/schemas/cursor";
import type { Delivery } from "@smile/schemas/envelopes";

type Claim = Pick<Delivery, "topicId" | "partition" | "from" | "offset">;

/**
 * How a delivery stands to what is stored:
 * - `next`: nothing of the plant's is missing between, so that the cursor may move behind it;
 * - `stored`: it lies behind the cursor, and need not even be decrypted;
 * - `ahead`: something before it is missing. It comes again once the sender has gone back to the cursor.
 * A delivery says itself where what it continues begins, so nothing is assumed of the order in which deliveries arrive, of which were
 * lost, or of when the sender heard a cursor. One of another topic or partition (the log was made anew, or laid out anew) continues
 * the beginning: what has been stored before is recognised by its message ids.
 */
export function standingOf({ topicId, partition, from, offset }: Claim, cursor: Cursor): "next" | "stored" | "ahead" {
  const next = cursor.topicId === topicId && cursor.partition === partition ? (cursor.next ?? 0) : 0;
  if (offset < next) return "stored";
  return from <= next ? "next" : "ahead";
}

/** The cursor of a plant that has dealt with a delivery that was `next`: stored it, or refused it for good. */
export function behind({ topicId, partition, offset }: Claim): Cursor {
  return { topicId, partition, next: offset + 1 };
}
