import type { RemoteInfo, Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { canonicalAddress } from '../../src/core/address.ts';
import { asSallyportError, SallyportError } from '../../src/core/errors.ts';
import {
  COMMAND,
  MAX_REQUEST_BYTES,
  methodReply,
  readDatagram,
  readGreeting,
  readRequest,
  REPLY,
  reply,
  replyFor,
  writeDatagram,
  type SocksAddress,
} from '../../src/core/socks.ts';
import type { SessionStream } from '../../src/net/session-stream.ts';
import { DatagramFlows, type FlowOpener } from './datagram-flows.ts';
import type { Listening } from './forward.ts';
import type { DynamicSpec } from './forward-spec.ts';
import { leadingTo } from './leading-to.ts';
import { bindUdp, Listener } from './listener.ts';
import { resetConnection } from '../../src/net/reset.ts';
import { splice } from './splice.ts';
import { take } from './take.ts';

/**
 * SOCKS5 (RFC 1928) here, dialled and resolved over there: CONNECT and UDP ASSOCIATE, no authentication.
 * @param onError told of each connection that could not be made
 * @throws SallyportError `PORT_IN_USE`, `USAGE`
 */
export async function startSocks(
  spec: DynamicSpec,
  opener: FlowOpener,
  onError: (error: SallyportError) => void,
): Promise<Listening> {
  const carry = (socket: Socket) => {
    new SocksClient(socket, opener, onError).serve().catch((thrown: unknown) => {
      resetConnection(socket);
      if (thrown instanceof SallyportError) onError(thrown);
    });
  };
  return Listener.start(spec, carry, onError);
}

/** One client's connection, from its greeting to its end. */
class SocksClient {
  readonly #socket: Socket;
  readonly #opener: FlowOpener;
  readonly #onError: (error: SallyportError) => void;

  constructor(socket: Socket, opener: FlowOpener, onError: (error: SallyportError) => void) {
    this.#socket = socket;
    this.#opener = opener;
    this.#onError = onError;
  }

  async serve(): Promise<void> {
    const request = await this.#greet();
    if (!request) return this.#refuse(methodReply(NO_METHOD));
    const { command, address } = request;
    if (!address) return this.#refuse(reply(REPLY.addressTypeNotSupported));
    if (command === COMMAND.connect) return this.#connect(address);
    if (command === COMMAND.udpAssociate) return this.#associate(address);
    this.#refuse(reply(REPLY.commandNotSupported));
  }

  /** Its request, all within its time however slowly it comes; `undefined` where it wants to authenticate. */
  async #greet() {
    const socket = this.#socket;
    const late = setTimeout(() => socket.destroy(), GREETING_TIMEOUT_MS);
    try {
      const methods = await take(socket, readGreeting, MAX_REQUEST_BYTES);
      if (!methods.includes(NO_AUTHENTICATION)) return undefined;
      socket.write(methodReply(NO_AUTHENTICATION));
      return await take(socket, readRequest, MAX_REQUEST_BYTES);
    } finally {
      clearTimeout(late);
    }
  }

  #refuse(words: Uint8Array): void {
    this.#socket.end(words);
    this.#socket.destroySoon();
  }

  async #connect({ host, port }: SocksAddress): Promise<void> {
    const socket = this.#socket;
    const purpose = { for: 'target', host, port, confirm: true } as const;
    let stream: SessionStream | undefined;
    try {
      if (host === '' || port === 0) throw new SallyportError('USAGE', 'a SOCKS request without a target');
      stream = await this.#opener.openPurpose(purpose);
      const lost = () => stream?.destroy();
      socket.once('close', lost);
      await take(stream, (bytes) => (bytes.length > 0 ? { value: true, length: 1 } : undefined), 1);
      socket.off('close', lost);
    } catch (thrown) {
      const error = asSallyportError(thrown, 'STREAM_RESET');
      stream?.on('error', () => {}).destroy();
      if (socket.destroyed) return; // gave up before there was an answer
      this.#refuse(reply(replyFor(error.code)));
      throw stream ? leadingTo(purpose, error) : error;
    }
    socket.write(reply(REPLY.succeeded));
    await splice(socket, stream).catch((thrown: unknown) => {
      throw thrown instanceof SallyportError ? leadingTo(purpose, thrown) : thrown;
    });
  }

  /** The association lives as long as this connection (RFC 1928 §6). */
  async #associate(declared: SocksAddress): Promise<void> {
    const socket = this.#socket;
    const { localAddress, remoteAddress } = socket;
    if (localAddress === undefined || remoteAddress === undefined) return resetConnection(socket); // gone already
    // It may hang up before there is a socket for its datagrams.
    const hungUp = Promise.race([once(socket, 'end'), once(socket, 'close')]).catch(() => {});
    socket.resume();
    const udp = await bindUdp({ bind: localAddress, port: 0 });
    const flows = new DatagramFlows({ opener: this.#opener, onError: this.#onError });
    new Association(udp, flows, canonicalAddress(remoteAddress), declared.port).start();
    const { address, port } = udp.address();
    socket.write(reply(REPLY.succeeded, { host: address, port }));
    await hungUp;
    udp.close();
    await flows.close();
    socket.destroy();
  }
}

/** Datagrams of one client: those of anybody else are dropped. */
class Association {
  readonly #udp: UdpSocket;
  readonly #flows: DatagramFlows;
  readonly #address: string;
  /** The client's port: as it declared, or as its first datagram shows. */
  #port: number;

  constructor(udp: UdpSocket, flows: DatagramFlows, address: string, port: number) {
    this.#udp = udp;
    this.#flows = flows;
    this.#address = address;
    this.#port = port;
  }

  start(): void {
    this.#udp.on('error', () => {});
    this.#udp.on('message', (bytes, from) => this.#receive(bytes, from));
  }

  #receive(bytes: Uint8Array, from: RemoteInfo): void {
    if (canonicalAddress(from.address) !== this.#address) return;
    if (this.#port !== 0 && this.#port !== from.port) return;
    const datagram = readDatagram(bytes);
    if (!datagram || datagram.address.port === 0 || datagram.address.host === '') return;
    this.#port = from.port;
    const { address, data } = datagram;
    const { host, port } = address;
    this.#flows.send(`${host} ${port}`, { for: 'udp-target', host, port }, data, (answer) =>
      this.#udp.send(writeDatagram(address, answer), from.port, from.address, () => {}),
    );
  }
}

const NO_AUTHENTICATION = 0;
const NO_METHOD = 0xff;
const GREETING_TIMEOUT_MS = 10_000;
