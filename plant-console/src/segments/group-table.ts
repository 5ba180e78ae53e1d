/** A person without a name: the same one in every run. */
export type Pseudonym = string | bigint;

/** Who a release was about, by pseudonym: the same person has the same one in every run. Groups are disjoint and within `everyone`. */
export type ReleasedMembership = {
  readonly groups: readonly ReadonlySet<Pseudonym>[];
  /** All people of the run, also those who are in no released group: their number is released. */
  readonly everyone: ReadonlySet<Pseudonym>;
};

/** How many people are in each pair of groups of two releases. */
export type GroupTable = {
  /**
   * People of a group, or of the whole, of one release outside a group, or the whole, of the other; for all pairs that share somebody,
   * both ways.
   */
  remainders(): number[];
  /** [nodes][nodes] symmetric: people who join two nodes. Node 0 is "in none"; then the groups of the one release, those of the other. */
  graph(): number[][];
};

/** Columns and rows: 0 is absent from the run, 1 is present in no released group, then the groups in their order. */
const ABSENT = 0;
const REST = 1;
const GROUPS = 2;

/** @throws {RangeError} when groups of one release overlap, or reach beyond `everyone` */
export function groupTable(one: ReleasedMembership, other: ReleasedMembership): GroupTable {
  const rows = placesOf(one);
  const columns = placesOf(other);
  const width = other.groups.length + GROUPS;
  const people: number[][] = Array.from({ length: one.groups.length + GROUPS }, () => Array(width).fill(0));
  for (const [person, row] of rows) people[row]![columns.get(person) ?? ABSENT]!++;
  for (const [person, column] of columns) if (!rows.has(person)) people[ABSENT]![column]!++;
  return { remainders: () => remaindersOf(people), graph: () => graphOf(people) };
}

function placesOf({ groups, everyone }: ReleasedMembership): Map<Pseudonym, number> {
  const places = new Map<Pseudonym, number>();
  groups.forEach((group, i) => {
    for (const person of group) {
      if (places.has(person)) throw new RangeError("two groups of a release share a person");
      if (!everyone.has(person)) throw new RangeError("a group of a release has a person who is not in its run");
      places.set(person, i + GROUPS);
    }
  });
  for (const person of everyone) if (!places.has(person)) places.set(person, REST);
  return places;
}

function remaindersOf(people: readonly (readonly number[])[]): number[] {
  const indices = (length: number) => Array.from({ length }, (_, i) => i);
  const [rows, columns] = [indices(people.length), indices(people[0]!.length)];
  /** Each released thing as the rows, or columns, that it consists of: single groups, and everybody who is present. */
  const told = (all: readonly number[]) => [...all.slice(GROUPS).map((i) => [i]), all.slice(REST)];
  const sum = (some: readonly number[], others: readonly number[]) =>
    some.reduce((total, r) => total + others.reduce((inner, c) => inner + people[r]![c]!, 0), 0);
  return told(rows).flatMap((a) =>
    told(columns).flatMap((b) => {
      const shared = sum(a, b);
      return shared === 0 ? [] : [sum(a, columns) - shared, sum(rows, b) - shared];
    }),
  );
}

function graphOf(people: readonly (readonly number[])[]): number[][] {
  const [height, width] = [people.length - 1, people[0]!.length - 1];
  const nodes = 1 + height + width;
  const graph: number[][] = Array.from({ length: nodes }, () => Array(nodes).fill(0));
  people.forEach((row, r) => {
    row.forEach((count, c) => {
      const [a, b] = [r === ABSENT ? 0 : r, c === ABSENT ? 0 : height + c];
      if (a === b) return;
      graph[a]![b]! += count;
      graph[b]![a]! += count;
    });
  });
  return graph;
}
