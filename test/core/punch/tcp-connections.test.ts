import { describe, expect, it } from 'vitest';
import { TcpConnections } from '../../../src/core/punch/tcp-connections.ts';
import type { SessionRole } from '../../../src/core/session/role.ts';

const endpoint = { address: '192.0.2.1', port: 1 };

/** What becomes of connections with the given ids, which come about one after the other. */
function connectionsOf(role: SessionRole, ...ids: string[]) {
  const offered: string[] = [];
  const spare: string[] = [];
  const connections = new TcpConnections({
    role,
    onOffered: ({ id }) => offered.push(id),
    onSpare: (id) => spare.push(id),
  });
  for (const id of ids) add(connections, id);
  return { connections, offered, spare };
}

function add(connections: TcpConnections, id: string): boolean {
  return connections.add({ id, local: endpoint, remote: endpoint, technique: 'simultaneous open' }, 0);
}

describe('several connections to one peer', () => {
  it('are all offered to TLS at the responder, which can not know the one that is chosen', () => {
    const { connections, offered } = connectionsOf('responder', 'a', 'b');
    connections.broken('a', 0);
    expect(offered).toEqual(['a', 'b']);
  });

  it('are offered one after the other at the initiator, which chooses', () => {
    const { connections, offered } = connectionsOf('initiator', 'a', 'b', 'c');
    expect(offered).toEqual(['a']);
    expect(connections.broken('b', 0)).toMatchObject({ id: 'b' });
    expect(offered).toEqual(['a']);
    connections.broken('a', 0);
    expect(offered).toEqual(['a', 'c']);
  });

  it('leave one, which is not given up any more', () => {
    const { connections, spare } = connectionsOf('responder', 'a', 'b');
    expect(connections.secure('b')).toMatchObject({ id: 'b' });
    expect(connections.secured).toBe(true);
    expect(spare).toEqual(['a']);
    expect(connections.broken('b', 0)).toBeUndefined();
    expect(add(connections, 'c')).toBe(false);
    expect(spare).toEqual(['a', 'c']);
  });

  it('are eight at most, since whoever reaches a listener can make them', () => {
    const { connections, spare } = connectionsOf('responder', ...'abcdefghi'.split(''));
    expect(spare).toEqual(['i']);
    connections.broken('a', 0);
    expect(add(connections, 'j')).toBe(true);
  });
});
