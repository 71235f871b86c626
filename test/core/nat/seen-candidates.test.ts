import { describe, expect, it } from 'vitest';
import { SeenCandidates } from '../../../src/core/nat/seen-candidates.ts';
import { formatEndpoint } from '../../../src/core/endpoint.ts';

const SERVERS = [1, 2].map((port) => ({ address: '203.0.113.1', port }));
const MINUTE_MS = 60_000;

/** What servers see of one socket, one after the other. */
class Seen {
  readonly #candidates = new SeenCandidates('udp');
  #now = 0;

  by(server: number, address: string, port = 5_000): boolean {
    this.#now += 1_000;
    return this.#candidates.add(SERVERS[server]!, { address, port }, undefined, this.#now);
  }

  get list(): string[] {
    return this.#candidates.list(this.#now, MINUTE_MS).map(({ endpoint }) => formatEndpoint(endpoint));
  }
}

describe('what servers saw of a socket', () => {
  it('is all remembered for a while, where a NAT has a mapping for each server', () => {
    const seen = new Seen();
    for (const server of [0, 1, 0, 1]) seen.by(server, '198.51.100.1', 5_000 + server);
    expect(seen.list).toEqual(['198.51.100.1:5001', '198.51.100.1:5000']);
  });

  it('is forgotten once one of them sees it elsewhere', () => {
    const seen = new Seen();
    for (const server of [0, 1]) seen.by(server, '198.51.100.1', 5_000 + server);
    expect(seen.by(0, '198.51.100.2')).toBe(true);
    expect(seen.list).toEqual(['198.51.100.2:5000']);
    expect(seen.by(1, '198.51.100.2')).toBe(false);
    expect(seen.list).toEqual(['198.51.100.2:5000']);
  });

  it('is new once more after a network that was left and come back to', () => {
    const seen = new Seen();
    const news = ['198.51.100.1', '198.51.100.2', '198.51.100.1'].map((address) => seen.by(0, address));
    expect(news).toEqual([true, true, true]);
    expect(seen.list).toEqual(['198.51.100.1:5000']);
  });
});
