/** What is measured on a wire: both ends of each exercise. */

const CHUNK = Buffer.alloc(64 * 1024, 0x5a);
const ONE = Buffer.of(1);

/**
 * Bulk, one way. The receiver answers with one byte after the warm-up, and with another at the end; what lies between
 * the two is measured, so that neither the handshake nor the first window nor the compiler's first pass counts.
 */
const bulk = {
  /** @returns {Promise<number>} seconds */
  async dial({ connect }, { bytes, warmUpBytes, began }) {
    const wire = await connect();
    const answers = answersOn(wire);
    await send(wire, warmUpBytes);
    await answers.next();
    began();
    const start = performance.now();
    await send(wire, bytes);
    await answers.next();
    return (performance.now() - start) / 1000;
  },

  accept(wire, { bytes, warmUpBytes }) {
    const marks = [warmUpBytes, warmUpBytes + bytes];
    let received = 0;
    wire.onBytes(({ length }) => {
      received += length;
      while (received >= marks[0]) {
        marks.shift();
        wire.write(ONE);
      }
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
      wire.write(ONE);
      await answers.next();
      if (time > 0) taken.push((performance.now() - start) / 1000);
      await wire.close();
    }
    return taken.sort((a, b) => a - b)[Math.floor(taken.length / 2)];
  },

  accept(wire) {
    wire.onBytes(() => wire.write(ONE));
  },
};

export const exercises = { bulk, connect };

async function send(wire, bytes) {
  for (let left = bytes; left > 0; left -= CHUNK.length) {
    const chunk = left < CHUNK.length ? CHUNK.subarray(0, left) : CHUNK;
    if (!wire.write(chunk)) await wire.drained();
  }
}

/** Single bytes from the other end, one at a time. */
function answersOn(wire) {
  const answers = { came: 0, wake: () => {} };
  wire.onBytes(({ length }) => {
    answers.came += length;
    answers.wake();
  });
  return {
    async next() {
      while (answers.came === 0) await new Promise((resolve) => (answers.wake = resolve));
      answers.came -= 1;
    },
  };
}
