/** What is measured on a wire: both ends of each exercise. */

const CHUNK = Buffer.alloc(64 * 1024, 0x5a);
/** The receiver answers each with one byte. */
const BLOCK_BYTES = 4 * 1024 * 1024;
const ONE = Buffer.of(1);

/**
 * Bulk, one way. The first seconds are not counted: windows and congestion control find their size in them, and the
 * just-in-time compiler does its work. What is measured ends when the receiver has said that it has everything.
 */
const bulk = {
  /** @returns {Promise<number>} seconds */
  async dial({ connect }, { bytes, warmUpSeconds, began }) {
    const wire = await connect();
    const answers = answersOn(wire);
    const warm = performance.now() + warmUpSeconds * 1000;
    while (performance.now() < warm) await sendBlocks(wire, answers, 1);
    await answers.all();
    began();
    const start = performance.now();
    await sendBlocks(wire, answers, bytes / BLOCK_BYTES);
    await answers.all();
    return (performance.now() - start) / 1000;
  },

  accept(wire) {
    let left = BLOCK_BYTES;
    wire.onBytes(({ length }) => {
      for (left -= length; left <= 0; left += BLOCK_BYTES) wire.write(ONE);
    });
  },
};

/** Connects, gets one byte echoed, leaves; again and again. The first time is not counted. */
const connect = {
  /** @returns {Promise<number>} seconds, the median of `times` */
  async dial({ connect }, { times, began }) {
    const taken = [];
    for (let time = 0; time <= times; time += 1) {
      if (time === 1) began();
      const start = performance.now();
      const wire = await connect();
      const answers = answersOn(wire);
      answers.ask(1);
      wire.write(ONE);
      await answers.all();
      if (time > 0) taken.push((performance.now() - start) / 1000);
      await wire.close();
    }
    return taken.sort((a, b) => a - b)[Math.floor(taken.length / 2)];
  },

  accept(wire) {
    wire.onBytes(() => wire.write(ONE));
  },
};

/** As much as passes, one way, for a time; whoever receives counts. */
const flow = {
  async dial({ connect }) {
    await flood(await connect());
  },

  accept(wire, { warmUpSeconds, seconds }, say) {
    let received = 0;
    let first = true;
    wire.onBytes(({ length }) => {
      received += length;
      if (!first) return;
      first = false;
      setTimeout(() => {
        const [before, began] = [received, performance.now()];
        setTimeout(() => {
          const took = (performance.now() - began) / 1000;
          say({ received: ((received - before) * seconds) / took });
        }, seconds * 1000);
      }, warmUpSeconds * 1000);
    });
  },
};

/** Single bytes to and fro on one stream, while the same connection carries as much as passes on another. */
const latency = {
  /** @returns {Promise<{ latency: { median: number, p95: number } }>} milliseconds */
  async dial({ connect }, { warmUpSeconds, seconds }) {
    const wire = await connect();
    const quiet = await (wire.another ?? connect)();
    void flood(wire);
    await pause(warmUpSeconds * 1000);
    const taken = await pings(quiet, seconds);
    const at = (share) => taken[Math.floor(taken.length * share)];
    return { latency: { median: at(0.5), p95: at(0.95) } };
  },

  /** What begins with a few bytes is the quiet stream: they are sent back. */
  accept(wire) {
    let quiet;
    wire.onBytes(({ length }) => {
      quiet ??= length < FEW_BYTES;
      if (quiet) wire.write(Buffer.alloc(length));
    });
  },
};

/** One byte to and fro on an open wire, again and again. The first seconds are not counted, as with bulk. */
const ping = {
  /** @returns {Promise<{ seconds: number, tail: number }>} the median of `times`, and what 99 of 100 stay below */
  async dial({ connect }, { times, warmUpSeconds, began }) {
    const wire = await connect();
    let answered;
    wire.onBytes(() => answered());
    const once = async () => {
      const start = performance.now();
      await new Promise((resolve) => {
        answered = resolve;
        wire.write(ONE);
      });
      return (performance.now() - start) / 1000;
    };
    const warm = performance.now() + warmUpSeconds * 1000;
    while (performance.now() < warm) await once();
    began();
    const taken = [];
    while (taken.length < times) taken.push(await once());
    taken.sort((a, b) => a - b);
    return { seconds: taken[Math.floor(times / 2)], tail: taken[Math.floor(times * 0.99)] };
  },

  accept: (wire) => connect.accept(wire),
};

export const exercises = { bulk, connect, ping, flow, latency };

async function flood(wire) {
  for (;;) if (!wire.write(CHUNK)) await wire.drained();
}

/** Sent at a steady pace, answered or not. */
async function pings(wire, seconds) {
  const [sent, taken] = [[], []];
  wire.onBytes(({ length }) => {
    for (let each = 0; each < length; each += 1) taken.push(performance.now() - sent.shift());
  });
  const until = performance.now() + seconds * 1000;
  while (performance.now() < until) {
    sent.push(performance.now());
    wire.write(ONE);
    await pause(PING_EVERY_MS);
  }
  while (sent.length > 0) await pause(PING_EVERY_MS);
  return taken.sort((a, b) => a - b);
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const PING_EVERY_MS = 50;
const FEW_BYTES = 256;

async function sendBlocks(wire, answers, blocks) {
  answers.ask(blocks);
  for (let left = blocks * BLOCK_BYTES; left > 0; left -= CHUNK.length) {
    if (!wire.write(CHUNK)) await wire.drained();
  }
}

/** Counts the single bytes that are due from the other end. */
function answersOn(wire) {
  const answers = { due: 0, complete: () => {} };
  wire.onBytes(({ length }) => {
    answers.due -= length;
    if (answers.due === 0) answers.complete();
  });
  return {
    ask: (count) => void (answers.due += count),
    /** Resolves once none is due. */
    all: () => new Promise((resolve) => (answers.due === 0 ? resolve() : (answers.complete = resolve))),
  };
}
