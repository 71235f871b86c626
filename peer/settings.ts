import * as v from 'valibot';
import { SallyportError } from '../src/core/errors.ts';
import { isPeerId, type PeerId } from '../src/core/identity.ts';
import { readPrivateFile, writePrivateFile } from '../src/net/private-file.ts';

/** A rendezvous as it is remembered: where it is, who it is, what admits us there. */
export interface RememberedRendezvous {
  readonly url: string;
  readonly id?: PeerId | undefined;
  readonly token?: string | undefined;
}

const peerId = v.custom<PeerId>((value) => typeof value === 'string' && isPeerId(value), 'not a peer id');

const schema = v.strictObject({
  rendezvous: v.optional(
    v.object({ url: v.string(), id: v.optional(peerId), token: v.optional(v.string()) }),
  ),
  /** Names that were resolved once, and to whom. */
  names: v.optional(v.record(v.string(), peerId)),
  /** Deployments pinned at first use, by URL. */
  deployments: v.optional(v.record(v.string(), peerId)),
});

type Settings = v.InferOutput<typeof schema>;

/** What a peer remembers between runs. The file holds the join token, so it is kept as private as the key. */
export class SettingsFile {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  get rendezvous(): RememberedRendezvous | undefined {
    return this.#read().rendezvous;
  }

  remember(rendezvous: RememberedRendezvous): void {
    this.#write({ ...this.#read(), rendezvous: { ...rendezvous } });
  }

  pinnedDeployment(url: string): PeerId | undefined {
    return this.#read().deployments?.[url];
  }

  pinDeployment(url: string, id: PeerId): void {
    const settings = this.#read();
    this.#write({ ...settings, deployments: { ...settings.deployments, [url]: id } });
  }

  /** Every name that is pinned, and whose it is. */
  get names(): Readonly<Record<string, PeerId>> {
    return this.#read().names ?? {};
  }

  pinnedName(name: string): PeerId | undefined {
    return this.#read().names?.[name];
  }

  pinName(name: string, id: PeerId): void {
    const settings = this.#read();
    this.#write({ ...settings, names: { ...settings.names, [name]: id } });
  }

  /** The names of `from` are those of `to` from now on. */
  movePins(from: PeerId, to: PeerId): void {
    const settings = this.#read();
    const names = Object.entries(settings.names ?? {});
    if (!names.some(([, id]) => id === from)) return;
    const moved = Object.fromEntries(names.map(([name, id]) => [name, id === from ? to : id]));
    this.#write({ ...settings, names: moved });
  }

  /** @throws SallyportError `CONFIG_INVALID`, naming the key */
  #read(): Settings {
    const text = readPrivateFile(this.path);
    if (text === undefined) return {};
    const result = v.safeParse(schema, parseJson(text, this.path));
    if (result.success) return result.output;
    const issue = result.issues[0];
    const key = v.getDotPath(issue);
    throw damaged(`${this.path}${key === null ? '' : `, ${key}`}: ${issue.message}`);
  }

  #write(settings: Settings): void {
    writePrivateFile(this.path, `${JSON.stringify(settings, undefined, 2)}\n`);
  }
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw damaged(`${path} is not JSON`, cause);
  }
}

function damaged(message: string, cause?: unknown): SallyportError {
  return new SallyportError('CONFIG_INVALID', message, {
    hint: 'mend it, or move it away and run `peer join` again',
    cause,
  });
}
