/**
 * The smallest sum of edges, above 0, whose removal parts a connected part of a graph in two; Infinity when no two nodes are joined.
 * Stoer and Wagner, A simple min-cut algorithm, Journal of the ACM 44 (1997), for each connected part.
 * @param graph [nodes][nodes] symmetric weights from 0
 */
export function minimumCut(graph: readonly (readonly number[])[]): number {
  return Math.min(Number.POSITIVE_INFINITY, ...connectedParts(graph).map((nodes) => cutOf(nodes, graph)));
}

function connectedParts(graph: readonly (readonly number[])[]): number[][] {
  const seen = new Set<number>();
  return graph.flatMap((_, start) => {
    if (seen.has(start)) return [];
    seen.add(start);
    const part = [start];
    for (const node of part) {
      graph[node]!.forEach((weight, next) => {
        if (weight === 0 || seen.has(next)) return;
        seen.add(next);
        part.push(next);
      });
    }
    return [part];
  });
}

function cutOf(part: readonly number[], graph: readonly (readonly number[])[]): number {
  const weights = part.map((a) => part.map((b) => (a === b ? 0 : graph[a]![b]!)));
  let nodes = part.map((_, i) => i);
  let best = Number.POSITIVE_INFINITY;
  while (nodes.length > 1) {
    // Nodes in the order of how strongly they hang on those before; what the last one hangs on with is the smallest cut between the last two.
    const held = new Map(nodes.map((node) => [node, 0]));
    let [before, last] = [-1, -1];
    while (held.size > 0) {
      const next = [...held].reduce((a, b) => (b[1] > a[1] ? b : a));
      held.delete(next[0]);
      [before, last] = [last, next[0]];
      if (held.size === 0) best = Math.min(best, next[1]);
      for (const node of held.keys()) held.set(node, held.get(node)! + weights[last]![node]!);
    }
    for (const node of nodes) {
      if (node === before || node === last) continue;
      weights[before]![node]! += weights[last]![node]!;
      weights[node]![before]! += weights[node]![last]!;
    }
    nodes = nodes.filter((node) => node !== last);
  }
  return best;
}
