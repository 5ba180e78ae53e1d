import type { RecordValues } from "./record-spec.ts";
import { isMissing, parseDecimal } from "./record-values.ts";

/** New values are noted in the first so many records only: that bounds memory, and is plenty to tell keys from quantities. */
const NOTED_RECORDS = 20_000;

/** What is known of one column after its values went by, once each and in order. */
export class ColumnSurvey {
  readonly column: string;
  /** Records in which the column had a value. */
  present = 0;
  missing = 0;
  /** Present values that are numbers; `mean` and `deviation` (of the population) are theirs. */
  numbers = 0;
  mean = 0;
  /** Neighbouring numbers of which the second is larger, or smaller. */
  rising = 0;
  falling = 0;
  /** How many records hold each value; complete for values that occur in the first 20,000 records. */
  readonly counts = new Map<string, number>();
  /** Present values while `counts` took new ones. */
  noted = 0;
  #records = 0;
  #squares = 0;
  #last = Number.NaN;

  constructor(column: string) {
    this.column = column;
  }

  add(record: RecordValues): void {
    this.#records++;
    const text = (Object.hasOwn(record, this.column) ? record[this.column] : undefined)?.trim() ?? "";
    if (isMissing(text)) {
      this.missing++;
      return;
    }
    this.present++;
    const count = this.counts.get(text);
    if (this.#records <= NOTED_RECORDS) this.noted++;
    if (count !== undefined || this.#records <= NOTED_RECORDS) this.counts.set(text, (count ?? 0) + 1);
    const value = parseDecimal(text);
    if (!Number.isNaN(value)) this.#addNumber(value);
  }

  get deviation(): number {
    return this.numbers === 0 ? 0 : Math.sqrt(this.#squares / this.numbers);
  }

  /** Different values per noted value, in (0, 1]; 1 where every record has a value of its own. */
  get distinctShare(): number {
    return this.noted === 0 ? 0 : this.counts.size / this.noted;
  }

  /** Welford's running form. */
  #addNumber(value: number): void {
    this.numbers++;
    const difference = value - this.mean;
    this.mean += difference / this.numbers;
    this.#squares += difference * (value - this.mean);
    if (value > this.#last) this.rising++;
    if (value < this.#last) this.falling++;
    this.#last = value;
  }
}
