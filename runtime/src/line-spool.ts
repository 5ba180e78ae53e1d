/** Lines that are sent together. */
export type Segment = { readonly text: string; readonly lines: number };

/** Lines as they will be sent, in UTF-8, each with its end: bytes outside of the heap, so that a bound in bytes is one of memory. */
type Stored = { readonly buffer: Buffer; bytes: number; lines: number };

const lineEnd = 10;

/**
 * Lines that wait to be sent, oldest first, in segments. Their bytes never exceed the bound: where a new line finds no room, whole
 * segments are dropped from the oldest on. The one taken for sending is never dropped, so that nothing counts as lost and arrives.
 */
export class LineSpool {
  readonly #maxBytes: number;
  readonly #segmentBytes: number;
  readonly #segments: Stored[] = [];
  #bytes = 0;
  #taken = false;

  /**
   * @param maxBytes of all lines in UTF-8, one more per line for its end
   * @param segmentBytes of one segment, at most a quarter of `maxBytes`
   * @throws {RangeError}
   */
  constructor(maxBytes: number, segmentBytes: number) {
    if (segmentBytes < 1 || segmentBytes * 4 > maxBytes)
      throw new RangeError(`segmentBytes is ${segmentBytes}; it must be within 1 and a quarter of ${maxBytes}`);
    this.#maxBytes = maxBytes;
    this.#segmentBytes = segmentBytes;
  }

  /** Bytes that wait or are being sent. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Lines that wait or are being sent. */
  get lines(): number {
    return this.#segments.reduce((sum, { lines }) => sum + lines, 0);
  }

  /** Whether a whole segment waits, so that sending is worth it. */
  get hasFull(): boolean {
    return this.#segments.length > 1;
  }

  /** @returns how many lines were lost for it: the oldest, or the line itself when no segment can hold it */
  add(line: string): number {
    const bytes = Buffer.byteLength(line) + 1;
    if (bytes > this.#segmentBytes) return 1;
    let lost = 0;
    while (this.#bytes + bytes > this.#maxBytes) lost += this.#dropOldest();
    const open = this.#segments.at(-1);
    const isOpen = open !== undefined && open.bytes + bytes <= this.#segmentBytes && !(this.#taken && this.#segments.length === 1);
    const segment = isOpen ? open : { buffer: Buffer.allocUnsafeSlow(this.#segmentBytes), bytes: 0, lines: 0 };
    if (!isOpen) this.#segments.push(segment);
    segment.buffer.write(line, segment.bytes);
    segment.buffer[segment.bytes + bytes - 1] = lineEnd;
    segment.bytes += bytes;
    segment.lines++;
    this.#bytes += bytes;
    return lost;
  }

  /** The oldest segment, for sending; `remove` or `putBack` must follow before the next one is taken. */
  take(): Segment | undefined {
    if (this.#taken) throw new Error("a segment is taken already");
    const oldest = this.#segments[0];
    if (oldest === undefined) return undefined;
    this.#taken = true;
    return { text: oldest.buffer.toString("utf8", 0, oldest.bytes - 1), lines: oldest.lines };
  }

  /** The taken segment is dealt with. */
  remove(): void {
    this.#taken = false;
    this.#bytes -= this.#segments.shift()?.bytes ?? 0;
  }

  /** The taken segment waits again; it is the oldest. */
  putBack(): void {
    this.#taken = false;
  }

  /** @returns lines dropped; a bound of four segments leaves always one beside that which is being sent */
  #dropOldest(): number {
    const [dropped] = this.#segments.splice(this.#taken ? 1 : 0, 1);
    this.#bytes -= dropped?.bytes ?? 0;
    return dropped?.lines ?? 0;
  }
}
