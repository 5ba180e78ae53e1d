import { columnWords, plainLetters } from "./column-words.ts";

/**
 * Kinds of personal data that need a permission: the special categories of GDPR article 9, and the grounds on which the German
 * equal treatment act (AGG, section 1) forbids discrimination, with what stands for them in files.
 */
export type SensitiveKind =
  | "age"
  | "gender"
  | "health"
  | "religion"
  | "origin"
  | "family status"
  | "union"
  | "sexual orientation"
  | "political opinion"
  | "biometrics";

type Signs = {
  /** Whole words of a column's name. */
  readonly words: readonly string[];
  /** Parts of a name written together: long enough that nothing harmless contains them. */
  readonly parts: readonly string[];
};

const signs: Readonly<Record<SensitiveKind, Signs>> = {
  age: {
    words: ["age", "ages", "alter", "dob", "geb", "gebdat", "jahrgang"],
    parts: ["birth", "geburt", "yearsold", "agegroup", "ageband", "altersg", "altersk", "lebensalter", "lebensjahr"],
  },
  gender: { words: ["sex", "anrede", "salutation"], parts: ["gender", "geschlecht", "pronoun"] },
  health: {
    words: ["ill", "gdb", "bmi", "aids", "hiv", "au"],
    parts: [
      "health",
      "gesundheit",
      "sick",
      "illness",
      "medical",
      "medizin",
      "disease",
      "diagnos",
      "krank",
      "disab",
      "handicap",
      "behinder",
    ],
  },
  religion: { words: ["faith", "glaube"], parts: ["religi", "konfession", "confession", "church", "kirche", "denomination"] },
  origin: {
    words: ["race", "rasse", "nation", "ethnie"],
    parts: [
      "ethni",
      "racial",
      "nationalit",
      "staatsang",
      "staatsbuerg",
      "citizen",
      "herkunft",
      "migration",
      "skincolo",
      "hautfarbe",
      "mothertongue",
      "muttersprache",
    ],
  },
  "family status": {
    words: ["ehe", "steuerklasse", "children", "kinder", "kids"],
    parts: [
      "marital",
      "married",
      "spouse",
      "familienstand",
      "familystatus",
      "verheiratet",
      "ehepartner",
      "pregnan",
      "schwanger",
      "maternity",
      "paternity",
      "mutterschutz",
      "elternzeit",
      "parentalleave",
      "taxclass",
      "childcount",
      "kinderfrei",
    ],
  },
  union: {
    words: ["union", "unionised", "unionized"],
    parts: ["gewerkschaft", "tradeunion", "unionmember", "workscouncil", "betriebsrat"],
  },
  "sexual orientation": { words: ["lgbt", "lgbtq", "lgbtqi"], parts: ["sexualorient", "sexuell", "sexualit", "sexualident"] },
  "political opinion": { words: ["partei"], parts: ["politic", "politisch", "parteimit"] },
  biometrics: { words: ["dna"], parts: ["biometri", "genetic", "genetik", "fingerprint", "fingerabdruck"] },
};
const ageLimit = /^(over|under|ueber|unter)\d{2}$/;

/** The kind of sensitive data that a column's name tells of, in English or German; null for none. */
export function sensitiveByName(column: string): SensitiveKind | null {
  const words = columnWords(column);
  const together = words.join("");
  for (const [kind, { words: whole, parts }] of Object.entries(signs) as [SensitiveKind, Signs][]) {
    if (whole.some((word) => words.includes(word)) || parts.some((part) => together.includes(part))) return kind;
  }
  return ageLimit.test(together) ? "age" : null;
}

const neutral = ["other", "unknown", "none", "keine", "sonstige", "unbekannt"];
const vocabularies: readonly (readonly [SensitiveKind, ReadonlySet<string>])[] = [
  [
    "gender",
    [
      "m",
      "f",
      "w",
      "d",
      "x",
      "male",
      "female",
      "man",
      "woman",
      "divers",
      "diverse",
      "non-binary",
      "nonbinary",
      "maennlich",
      "weiblich",
      "mann",
      "frau",
      "herr",
      "mr",
      "mrs",
      "ms",
      "mx",
    ],
  ],
  [
    "family status",
    [
      "single",
      "married",
      "divorced",
      "widowed",
      "separated",
      "ledig",
      "verheiratet",
      "geschieden",
      "verwitwet",
      "getrennt",
      "civil partnership",
      "lebenspartnerschaft",
    ],
  ],
  [
    "religion",
    [
      "catholic",
      "protestant",
      "christian",
      "muslim",
      "jewish",
      "hindu",
      "buddhist",
      "orthodox",
      "katholisch",
      "evangelisch",
      "muslimisch",
      "juedisch",
      "rk",
      "ev",
      "rk.",
      "ev.",
      "islam",
    ],
  ],
].map(([kind, words]) => [kind as SensitiveKind, new Set(words)] as const);

/** Share of the values that must come out of one vocabulary: a few slips of the pen hide nothing. */
const MOSTLY = 0.9;

/**
 * The kind that a column's values tell of, whatever it is called: most of them, and at least two different ones, out of one vocabulary.
 * @param counts how many records hold each value
 */
export function sensitiveByContent(counts: ReadonlyMap<string, number>): SensitiveKind | null {
  const telling = Array.from(counts, ([value, count]) => [plainLetters(value), count] as const).filter(
    ([value]) => !neutral.includes(value),
  );
  const total = telling.reduce((sum, [, count]) => sum + count, 0);
  for (const [kind, words] of vocabularies) {
    const found = telling.filter(([value]) => words.has(value));
    const known = found.reduce((sum, [, count]) => sum + count, 0);
    if (new Set(found.map(([value]) => value)).size >= 2 && known >= MOSTLY * total) return kind;
  }
  return null;
}
