// Fetches a URL on the host where it runs, and prints one JSON line per event:
//   {"status":…}, then {"bytes":…} a few times a second, then {"done":true,"bytes":…,"sha256":…,"longestPauseMs":…,"text":…}
import { createHash } from 'node:crypto';
import { get } from 'node:http';

const print = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const request = get(process.argv[2], (response) => {
  print({ status: response.statusCode });
  const hash = createHash('sha256');
  let [bytes, text, lastMs, longestPauseMs] = [0, '', performance.now(), 0];
  const progress = setInterval(() => print({ bytes }), 200);
  response.on('data', (chunk) => {
    const now = performance.now();
    longestPauseMs = Math.max(longestPauseMs, now - lastMs);
    lastMs = now;
    bytes += chunk.length;
    hash.update(chunk);
    if (bytes < 4096) text += chunk.toString();
  });
  response.on('end', () => {
    clearInterval(progress);
    print({
      done: true,
      bytes,
      sha256: hash.digest('hex'),
      longestPauseMs: Math.round(longestPauseMs),
      text,
    });
  });
  response.on('error', (error) => fail(error));
});
request.on('error', (error) => fail(error));

function fail(error) {
  print({ error: error.message });
  process.exit(1);
}
