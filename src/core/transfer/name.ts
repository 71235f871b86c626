import { SallyportError } from '../errors.ts';
import { printable } from '../remote-failure.ts';

const MAX_NAME_BYTES = 255;
/** Names in one path. */
export const MAX_PATH_NAMES = 64;

/** Devices that Windows finds in every folder, whatever follows a dot. */
const WINDOWS_DEVICE = /^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)(\..*)?$/i;

/** The `fileKey` of what `partName` makes. */
const PART = /\.[A-Z2-7]{8}\.PART$/;

/**
 * Checks a path that a stranger wrote, name by name, so that below whatever folder it is put it stays there: no name
 * leads up, is a path of its own on any system, or is more than a name on this one.
 * @param windows whether the files go to a Windows system, whose rules are stricter
 * @throws SallyportError `FILE_REFUSED`
 */
export function checkPath(path: readonly string[], windows: boolean): void {
  for (const name of path) {
    const why = flawOf(name) ?? (windows ? windowsFlawOf(name) : undefined);
    if (why) throw new SallyportError('FILE_REFUSED', `${JSON.stringify(pathText(path))} ${why}`);
  }
}

/** For people and logs. */
export function pathText(path: readonly string[]): string {
  return printable(path.join('/'));
}

/** The name under which a file grows: beside its final one, of this sender's own, and never a name that is too long. */
export function partName(name: string, tag: string): string {
  const end = `.${tag}.part`;
  const whole = new TextEncoder().encode(name);
  const room = MAX_NAME_BYTES - end.length;
  if (whole.length <= room) return name + end;
  const cut = new TextDecoder().decode(whole.subarray(0, room)).replace(/\ufffd+$/, '');
  return cut + end;
}

/**
 * One key for all paths that may be one file: some file systems take letters of both cases, or two ways to write one letter, for
 * the same, and pass over what can't be seen. Others tell two files apart that have one key.
 */
export function fileKey(path: string): string {
  const seen = path.normalize('NFD').replace(/\p{Default_Ignorable_Code_Point}/gu, '');
  return seen.toLowerCase().toUpperCase().normalize('NFC');
}

function flawOf(name: string): string | undefined {
  if (name === '' || name === '.' || name === '..') return 'has an empty name, "." or ".." in it';
  if (/[/\\]/.test(name)) return 'has a separator in a name';
  if (/^[a-z]:/i.test(name)) return 'begins like a drive';
  if (/[\p{Cc}\p{Cs}\u202a-\u202e\u2066-\u2069\u2028\u2029]/u.test(name))
    return 'has control characters in it';
  if (PART.test(fileKey(name))) return 'has a name that is kept for files that are not whole yet';
  if (new TextEncoder().encode(name).length > MAX_NAME_BYTES) return 'has a name of more than 255 bytes';
}

function windowsFlawOf(name: string): string | undefined {
  if (WINDOWS_DEVICE.test(name)) return 'is a device on this system';
  if (/[<>:"|?*]/.test(name)) return 'has a character that this system does not allow';
  if (/[. ]$/.test(name)) return 'ends in a way that this system would change';
}
