// A small web server on loopback with a page and a large file: node web.mjs port bytes, prints the port.
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';

const [port, bytes] = process.argv.slice(2).map(Number);
const block = Buffer.alloc(64 * 1024, 'a sally port opens from the inside only. ');
const page = '<!doctype html><title>The house behind the other NAT</title><p>You reached it.\n';

const server = createServer((request, response) => {
  if (request.url === '/sum') return response.end(checksum());
  if (request.url !== '/large') return response.end(page);
  response.setHeader('content-length', bytes);
  let left = bytes;
  const more = () => {
    while (left > 0) {
      const part = block.subarray(0, Math.min(left, block.length));
      left -= part.length;
      if (!response.write(part)) return response.once('drain', more);
    }
    response.end();
  };
  more();
});
server.listen(port, '127.0.0.1', () => process.stdout.write(`${server.address().port}\n`));

function checksum() {
  const hash = createHash('sha256');
  for (let left = bytes; left > 0; left -= block.length)
    hash.update(block.subarray(0, Math.min(left, block.length)));
  return hash.digest('hex');
}
