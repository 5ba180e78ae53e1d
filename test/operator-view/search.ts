import type { Sentinel } from "./sentinel.ts";
import { createIndex, type Index } from "./sentinel-index.ts";
import { viewsOf } from "./views.ts";

/** Something that is searched, by where it was found. */
export type Artefact = { readonly name: string; readonly bytes: Buffer };

/** A sentinel, where it stands, and through which readings of the bytes it was seen. */
export type Finding = { readonly sentinel: Sentinel; readonly place: string; readonly at: number };

/** A text within a text within a text is as far as anybody writes by accident. */
const DEPTH = 3;

/** Searches for many sentinels at once. */
export class SentinelSearch {
  readonly #index: Index;
  /** Bytes that were looked at, those of every reading counted. */
  searchedBytes = 0;

  constructor(sentinels: readonly Sentinel[]) {
    this.#index = createIndex(sentinels);
  }

  /** The first place of each sentinel in each of the artefacts. */
  search(artefacts: readonly Artefact[]): Finding[] {
    return artefacts.flatMap(({ name, bytes }) => this.#searchView(name, bytes, DEPTH));
  }

  #searchView(place: string, bytes: Buffer, depth: number): Finding[] {
    this.searchedBytes += bytes.length;
    const findings = [...this.#index.find(bytes)].map(([sentinel, at]): Finding => ({ sentinel, place, at }));
    if (depth === 0) return findings;
    for (const { reading, bytes: inner } of viewsOf(bytes)) findings.push(...this.#searchView(`${place} > ${reading}`, inner, depth - 1));
    return findings;
  }
}
