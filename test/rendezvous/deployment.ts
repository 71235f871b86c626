import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { identityFromSeed, type Identity } from '../../src/core/identity.ts';
import type { ToNode } from '../../src/core/protocol/rendezvous.ts';
import { parseRendezvousUrl } from '../../src/core/rendezvous-url.ts';
import { RelayLink } from '../../src/net/relay-link.ts';
import { SignalConnection, type SignalMessage, type SignalOptions } from '../../src/net/signal.ts';
import { attachRelay } from '../../relay/attach.ts';
import type { RendezvousOptions } from '../../rendezvous/options.ts';
import type { RegistryOutput } from '../../rendezvous/registry-events.ts';
import { RendezvousServer } from '../../rendezvous/server.ts';

export function freshIdentity(): Identity {
  return identityFromSeed(new Uint8Array(randomBytes(32)));
}

/** A certificate for localhost and 127.0.0.1, signed by itself. */
function selfSigned(home: string): { tlsCert: string; tlsKey: string; ca: string } {
  const [tlsCert, tlsKey] = [join(home, 'cert.pem'), join(home, 'key.pem')];
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', tlsKey];
  execFileSync('openssl', ['req', '-x509', '-days', '2', ...key, '-out', tlsCert, ...subject], {
    stdio: 'pipe',
  });
  return { tlsCert, tlsKey, ca: readFileSync(tlsCert, 'utf8') };
}

/** The same as PEM texts, for a server of a test's own. */
export function selfSignedTls(home: string): { cert: string; key: string } {
  const { tlsCert, tlsKey } = selfSigned(home);
  return { cert: readFileSync(tlsCert, 'utf8'), key: readFileSync(tlsKey, 'utf8') };
}

/** A rendezvous on loopback with everything that connects to it, cleaned up together. */
export class TestDeployment {
  readonly home: string;
  readonly ca: string | undefined;
  readonly server: RendezvousServer;
  /** What the rendezvous has told whoever runs it. */
  readonly events: readonly RegistryOutput[];
  readonly #closers: (() => void | Promise<void>)[] = [];

  private constructor(
    home: string,
    ca: string | undefined,
    server: RendezvousServer,
    events: readonly RegistryOutput[],
  ) {
    this.home = home;
    this.ca = ca;
    this.server = server;
    this.events = events;
  }

  static async start({
    tls = false,
    ...options
  }: RendezvousOptions & { tls?: boolean } = {}): Promise<TestDeployment> {
    const home = mkdtempSync(join(tmpdir(), 'sallyport-test-'));
    const files = tls ? selfSigned(home) : undefined;
    const security = files ? { tlsCert: files.tlsCert, tlsKey: files.tlsKey } : { insecure: true };
    const events: RegistryOutput[] = [];
    const server = await RendezvousServer.start(
      { listen: '127.0.0.1:0', stunPort: 0, home, ...security, ...options },
      attachRelay,
      (event) => events.push(event),
    );
    return new TestDeployment(home, files?.ca, server, events);
  }

  /** A node that isn't connected yet: listen first. */
  signal(options: Partial<SignalOptions> = {}): SignalConnection {
    const { url, id, token } = parseRendezvousUrl(this.server.joinUrl);
    const identity = options.identity ?? freshIdentity();
    const base = { url, deployment: id, token, role: 'listen' as const, ca: this.ca, environment: {} };
    const connection = new SignalConnection({ ...base, ...options, identity });
    connection.on('error', () => undefined);
    this.onClose(() => connection.close());
    return connection;
  }

  async node(
    options: Partial<SignalOptions> = {},
  ): Promise<{ identity: Identity; signal: SignalConnection }> {
    const identity = options.identity ?? freshIdentity();
    const signal = this.signal({ ...options, identity });
    await signal.whenRegistered();
    return { identity, signal };
  }

  link(url = this.server.url, environment: Record<string, string> = {}): RelayLink {
    const link = new RelayLink({ url, ca: this.ca, environment });
    this.onClose(() => link.close());
    return link;
  }

  onClose(closer: () => void | Promise<void>): void {
    this.#closers.push(closer);
  }

  async close(): Promise<void> {
    for (const closer of this.#closers.splice(0).reverse()) await closer();
    await this.server.close();
    rmSync(this.home, { recursive: true });
  }
}

/** The next message of one kind. */
export async function next<Name extends SignalMessage['t']>(
  signal: SignalConnection,
  name: Name,
): Promise<Extract<ToNode, { t: Name }>> {
  for (;;) {
    const [message] = (await once(signal, 'message')) as [SignalMessage];
    if (message.t === name) return message as Extract<ToNode, { t: Name }>;
  }
}
