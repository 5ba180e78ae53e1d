/**
 * The words of a column's name in small letters without accents: "MaritalStatus", "marital_status" and "MARITAL STATUS" become
 * ["marital", "status"]; umlauts become two letters.
 */
export function columnWords(column: string): string[] {
  return column
    .replace(/(\p{Ll}|\d)(\p{Lu})/gu, "$1 $2")
    .replace(/(\p{Lu})(\p{Lu}\p{Ll})/gu, "$1 $2")
    .split(/[^\p{L}\p{M}\d]+/u)
    .map(plainLetters)
    .filter((word) => word !== "");
}

/** Small letters without accents, ä as ae. */
export function plainLetters(text: string): string {
  return text
    .normalize("NFC")
    .toLowerCase()
    .replace(/[äöüß]/g, (letter) => ({ ä: "ae", ö: "oe", ü: "ue" })[letter] ?? "ss")
    .normalize("NFD")
    .replace(/\p{M}/gu, "");
}
