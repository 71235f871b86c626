// A CONNECT proxy: node proxy.mjs host port, prints the port.
import { createServer } from 'node:http';
import { connect } from 'node:net';

const [host = '0.0.0.0', port = '0'] = process.argv.slice(2);
const server = createServer((_, response) => response.writeHead(405).end());
server.on('connect', (request, client, head) => {
  const { hostname, port: target } = new URL(`http://${request.url}`);
  const upstream = connect({ host: hostname, port: Number(target || 80), allowHalfOpen: true }, () => {
    client.write('HTTP/1.1 200 OK\r\n\r\n');
    if (head.length > 0) upstream.write(head);
    upstream.pipe(client);
    client.pipe(upstream);
  });
  for (const [one, other] of [
    [client, upstream],
    [upstream, client],
  ]) {
    one.on('error', () => other.destroy());
    one.on('close', () => other.destroy());
  }
});
server.listen(Number(port), host, () => process.stdout.write(`${server.address().port}\n`));
