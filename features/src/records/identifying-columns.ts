import type { ColumnSurvey } from "./column-survey.ts";
import { columnWords } from "./column-words.ts";

/** Why a column would name a person, for the error. */
export type IdentifyingSign = string;

const words = [
  "iban",
  "email",
  "mail",
  "phone",
  "telephone",
  "telefon",
  "tel",
  "fax",
  "mobile",
  "handy",
  "handynummer",
  "uuid",
  "guid",
  "ssn",
  "login",
  "username",
  "vorname",
  "nachname",
  "surname",
  "familienname",
  "passport",
  "steuerid",
  "anschrift",
  "adresse",
  "address",
  "street",
  "strasse",
];
const names = [
  "id",
  "key",
  "name",
  "no",
  "nr",
  "number",
  "nummer",
  "firstname",
  "lastname",
  "fullname",
  "givenname",
  "familyname",
  "employeename",
];
const parts = [
  "personalnummer",
  "personalnr",
  "mitarbeiternummer",
  "mitarbeiternr",
  "mitarbeiterid",
  "mitarbeitername",
  "employeenumber",
  "employeeno",
  "employeeid",
  "employeekey",
  "employeecode",
  "staffnumber",
  "staffid",
  "staffno",
  "personid",
  "personnelnumber",
  "userid",
  "workerid",
  "badge",
  "ausweis",
  "socialsecurity",
  "sozialversicherung",
  "versicherungsnummer",
  "nationalid",
  "taxid",
  "steuernummer",
  "bankaccount",
  "kontonummer",
  "accountnumber",
  "emailaddress",
  "phonenumber",
  "telefonnummer",
  "mobilenumber",
  "kennzeichen",
  "licenseplate",
  "licenceplate",
];

/** Tells whether a column's name, in English or German, is that of something that names a person. */
export function identifyingByName(column: string): IdentifyingSign | null {
  const own = columnWords(column);
  const together = own.join("");
  const found = names.includes(together) || words.some((word) => own.includes(word)) || parts.some((part) => together.includes(part));
  return found ? "its name is that of an identifier" : null;
}

/** Fewer values say little of how unique a column is. */
const LEAST_VALUES = 20;
/** Text shared by fewer than two people each, on average, names them. */
const UNIQUE_TEXT = 0.5;
const NEARLY_UNIQUE = 0.98;
const MOST_CONTACTS = 0.05;
const KEY_DIGITS = 6;

const contacts: readonly (readonly [string, RegExp])[] = [
  ["e-mail addresses", /^[^\s@]+@[^\s@]+\.[^\s@]+$/],
  ["bank accounts (IBAN)", /^[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}$/],
  ["telephone numbers", /^(?:\+|00?)[1-9](?:[\s()/.-]*\d){6,13}$/],
];

/**
 * Tells whether the values themselves name people: contact data, text that hardly anyone shares, or whole numbers that behave as
 * keys do. A quantity may be nearly unique too (exact pay in a small company), so for numbers that alone is no reason: keys besides
 * rise with the file, or never repeat where quantities drawn from their range would, or have leading zeros or one length of at least
 * six digits.
 */
export function identifyingByContent(survey: ColumnSurvey): IdentifyingSign | null {
  if (survey.noted < LEAST_VALUES) return null;
  const values = [...survey.counts.keys()];
  for (const [what, pattern] of contacts) {
    if (values.filter((value) => pattern.test(value)).length > MOST_CONTACTS * values.length) return `its values look like ${what}`;
  }
  const quantity = survey.numbers >= 0.9 * survey.present;
  if (!quantity) return survey.distinctShare > UNIQUE_TEXT ? "hardly any two records share a value" : null;
  return survey.distinctShare >= NEARLY_UNIQUE && isKey(survey, values) ? "its values behave like the keys of records" : null;
}

function isKey(survey: ColumnSurvey, values: readonly string[]): boolean {
  if (Math.max(survey.rising, survey.falling) >= NEARLY_UNIQUE * (survey.numbers - 1)) return true;
  if (values.some((value) => /^0\d/.test(value))) return true;
  const numbers = values.map(Number);
  if (numbers.filter(Number.isInteger).length < 0.99 * numbers.length) return false;
  const lengths = new Set(values.map((value) => value.length));
  if (lengths.size === 1 && values[0]!.length >= KEY_DIGITS) return true;
  const [least, most] = numbers.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
  // Pairs that would coincide among values drawn evenly from the range; uneven ones coincide more often still (the birthday problem).
  const expected = (survey.noted * (survey.noted - 1)) / 2 / (most - least + 1);
  return expected >= 8 && survey.noted - survey.counts.size < expected / 4;
}
