import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { gaussian, happens, type RandomStream, randomStream } from "../random-stream.ts";
import { LEAVING, MOVING, moves, NEWCOMERS, plantedSegments } from "./planted-segments.ts";
import {
  type CategoryColumn,
  categories,
  IDENTIFIER,
  type OrderColumn,
  orders,
  type QuantityColumn,
  quantities,
} from "./workforce-columns.ts";

export type WorkforceOptions = {
  /** The same seed gives the same persons, one by one, however many there are. */
  readonly seed: number;
  readonly employees: number;
  /** 0 by default. From one period to the next some people leave, some change segment, and pay and moods drift. */
  readonly period?: number;
  /** Times the spread of persons within their segment; default 1. */
  readonly noise?: number;
};

/** A simulated person's record by column name, and the index in `plantedSegments` of what the person was made from. */
export type SimulatedEmployee = { readonly record: Readonly<Record<string, string>>; readonly segment: number };

/** Of the variance of a person's values, the part that stays the same from period to period. */
const LASTING = 0.85;

/**
 * The records of a workforce in one period, one after the other: any number in constant memory.
 * @throws {RangeError} when a number of the options is out of range
 */
export function* workforce({ seed, employees, period = 0, noise = 1 }: WorkforceOptions): Generator<SimulatedEmployee, void, undefined> {
  if (!Number.isInteger(employees) || employees < 1) throw new RangeError(`employees is ${employees}; it must be a whole number from 1 on`);
  if (!Number.isInteger(period) || period < 0) throw new RangeError(`period is ${period}; it must be a whole number from 0 on`);
  if (!(noise > 0)) throw new RangeError(`noise is ${noise}; it must be above 0`);
  for (let place = 0; place < employees; place++) yield employee(seed, place, period, noise);
}

function employee(seed: number, place: number, period: number, noise: number): SimulatedEmployee {
  const { segment, holder } = career(seed, place, period);
  const lasting = randomStream(seed, place, holder, "person");
  const passing = randomStream(seed, place, period, "period");
  const { shifts, chances } = plantedSegments[segment]!;
  const record: Record<string, string> = { [IDENTIFIER]: `W${String(place + 1).padStart(7, "0")}${holder === 0 ? "" : `-${holder}`}` };
  record.age = String(Math.round(20 + 45 * uniformFloat64(lasting)));
  record.gender = pick(["female", "male", "diverse"], [0.46, 0.53, 0.01], lasting);
  for (const column of Object.keys(categories) as CategoryColumn[]) record[column] = pick(categories[column], chances[column], lasting);
  const z = (column: QuantityColumn | OrderColumn) => {
    const own = Math.sqrt(LASTING) * gaussian(lasting) + Math.sqrt(1 - LASTING) * gaussian(passing);
    return (shifts[column.column] ?? 0) + noise * own + (column.drift ?? 0) * period;
  };
  for (const column of orders) {
    const value = column.values[Math.round(limit(column.centre + column.spread * z(column), 0, column.values.length - 1))]!;
    record[column.column] = happens(passing, column.missing ?? 0) ? "" : value;
  }
  for (const column of quantities) {
    const value = quantity(column, z(column));
    record[column.column] = happens(passing, column.missing ?? 0) ? "" : value;
  }
  return { record, segment };
}

/** Who holds a place in a period (0 is the first), and the segment of that person. */
function career(seed: number, place: number, period: number): { segment: number; holder: number } {
  const random = randomStream(seed, place, "career");
  const all = plantedSegments.map((_, i) => i);
  let segment = pick(
    all,
    plantedSegments.map(({ share }) => share),
    random,
  );
  let holder = 0;
  for (let past = 0; past < period; past++) {
    if (happens(random, LEAVING)) {
      segment = NEWCOMERS;
      holder++;
    } else if (happens(random, MOVING)) segment = pick(all, moves[segment], random);
  }
  return { segment, holder };
}

function quantity({ centre, spread, skewed = false, lowest, highest, decimals }: QuantityColumn, z: number): string {
  const value = skewed ? centre * Math.exp(spread * z) : centre + spread * z;
  return limit(value, lowest ?? Number.NEGATIVE_INFINITY, highest ?? Number.POSITIVE_INFINITY).toFixed(decimals);
}

const limit = (value: number, lowest: number, highest: number) => Math.min(highest, Math.max(lowest, value));

/** @param chances of each item, adding up to 1; even ones where there are none */
function pick<T>(items: readonly T[], chances: readonly number[] | undefined, random: RandomStream): T {
  let left = uniformFloat64(random);
  for (let i = 0; i < items.length; i++) {
    left -= chances === undefined ? 1 / items.length : chances[i]!;
    if (left < 0) return items[i]!;
  }
  return items[items.length - 1]!; // rounding: the chances may add up to a hair less than 1
}
