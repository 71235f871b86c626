const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567';

/** RFC 4648 base32, lower case, without padding. */
export function toBase32(bytes: Uint8Array): string {
  const codes: number[] = [];
  let bits = 0;
  let value = 0;
  for (const byte of bytes) {
    value = ((value << 8) | byte) & 0xffff;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      codes.push(ALPHABET.charCodeAt((value >> bits) & 31));
    }
  }
  if (bits > 0) codes.push(ALPHABET.charCodeAt((value << (5 - bits)) & 31));
  return String.fromCharCode(...codes); // put together letter by letter, it would hold each step to there: 1.3 KB for an id
}

/** `undefined` for anything that `toBase32` would not have written. */
export function fromBase32(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array((text.length * 5) >> 3);
  let length = 0;
  let bits = 0;
  let value = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = DIGITS[text.charCodeAt(i)] ?? NONE;
    if (digit === NONE) return undefined;
    value = ((value << 5) | digit) & 0xfff;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes[length++] = value >> bits;
    }
  }
  // What is left is filled up with zeros, and is no letter too many.
  return bits < 5 && (value & ((1 << bits) - 1)) === 0 ? bytes : undefined;
}

const NONE = 255;
/** By the letter's code. */
const DIGITS = new Uint8Array(128).fill(NONE);
for (let digit = 0; digit < ALPHABET.length; digit++) DIGITS[ALPHABET.charCodeAt(digit)] = digit;
