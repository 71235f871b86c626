// One process joins two HTTP/2 extended CONNECT streams by `pipe`, and does nothing else; through it bare bytes, or TLS from end to end.
import { once } from 'node:events';
import { connect, createServer } from 'node:http2';
import { endsOf, joining } from './splice.mjs';

const WINDOW_BYTES = 16 * 1024 * 1024;
const settings = { enableConnectProtocol: true, initialWindowSize: WINDOW_BYTES };

export async function middle() {
  const server = createServer({ settings });
  server.on('session', (session) => session.setLocalWindowSize(WINDOW_BYTES));
  const join = joining();
  server.on('stream', (stream) => {
    stream.respond({ ':status': 200 });
    join(stream);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server.address().port;
}

export const { listen, dial } = endsOf(leg);

async function leg(port) {
  const session = connect(`http://127.0.0.1:${port}`, { settings });
  session.once('connect', () => session.setLocalWindowSize(WINDOW_BYTES));
  await once(session, 'remoteSettings');
  const stream = session.request(
    { ':method': 'CONNECT', ':protocol': 'bench', ':scheme': 'http', ':path': '/', ':authority': 'bench' },
    { endStream: false },
  );
  await once(stream, 'response');
  return stream;
}
