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

export const exercises = { bulk, connect };

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
