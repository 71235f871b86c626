// Bare TCP, not encrypted; `awake`: by two processes that never sleep, as the quickest that a round trip can be here.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { HOST, wireOf } from '../wire.mjs';

export async function listen(_middle, variant, onWire) {
  if (variant === 'awake') stayAwake();
  const server = createServer({ noDelay: true }, (socket) => onWire(wireOf(socket)));
  server.listen(0, HOST);
  await once(server, 'listening');
  return { host: HOST, port: server.address().port };
}

export async function dial(address, _middle, variant) {
  if (variant === 'awake') stayAwake();
  return async () => {
    const socket = connect({ ...address, noDelay: true });
    await once(socket, 'connect');
    return wireOf(socket);
  };
}

/** With an immediate pending, the event loop looks for what comes without waiting. */
function stayAwake() {
  setImmediate(stayAwake);
}
