/** The word that was most likely meant where `written` was; `undefined` where none is near. */
export function nearest(written: string, words: readonly string[]): string | undefined {
  const near = words
    .map((word) => ({ word, edits: editsBetween(written.toLowerCase(), word.toLowerCase()) }))
    .filter(({ word, edits }) => edits <= MOST_EDITS && edits < word.length / 2);
  return near.sort((a, b) => a.edits - b.edits)[0]?.word;
}

const MOST_EDITS = 3;
/** No option is as long; the work grows with the length. */
const LONGEST = 64;

/** How many letters have to be put in, taken out or changed (Levenshtein). */
function editsBetween(a: string, b: string): number {
  if (Math.max(a.length, b.length) > LONGEST) return Infinity;
  let row = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let index = 0; index < a.length; index++) {
    const next = [index + 1];
    for (let column = 1; column <= b.length; column++) {
      const change = row[column - 1]! + (a[index] === b[column - 1] ? 0 : 1);
      next.push(Math.min(change, row[column]! + 1, next[column - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}
