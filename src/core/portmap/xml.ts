/**
 * The text inside the first element of that name, whatever its namespace prefix; `undefined` where there is none.
 * As much XML as routers' short answers need: no parser sees what a stranger wrote, and the time is linear.
 */
export function elementText(xml: string, name: string): string | undefined {
  const match = new RegExp(`<(?:[A-Za-z][\\w.-]{0,30}:)?${name}(?:\\s[^<>]*)?>([^<]*)<`).exec(xml);
  return match?.[1] === undefined ? undefined : unescapeXml(match[1].trim());
}

export function escapeXml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&${ENTITY_OF[character]!};`);
}

function unescapeXml(text: string): string {
  return text.replace(/&(amp|lt|gt|quot|apos);/g, (_, name: string) => CHARACTER_OF[name]!);
}

const CHARACTER_OF: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };
const ENTITY_OF = Object.fromEntries(
  Object.entries(CHARACTER_OF).map(([name, character]) => [character, name]),
);
