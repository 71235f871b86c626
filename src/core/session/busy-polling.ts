import type { Instant } from '../machine.ts';

/**
 * Whether to await the next answer awake. Where single messages go to and fro within one machine or rack, most of a round trip is
 * processes that fall asleep and are woken: 75 of 100 µs over loopback. Whoever looks for the answer until it is there saves that, and
 * the processor time that it costs; whoever looks in vain takes a core from others.
 *
 * So only in the middle of a rapid exchange and while it pays, and for one answer a few times as long as it took asleep: as with ski
 * rental, what is lost is at most so many times what could have been saved. KVM polls before it halts a processor by the same
 * reasoning (Linux, Documentation/virt/kvm/halt-polling.rst).
 *
 *     asleep ── so many quick answers, few slow ──▶ awake ── a long message ───────────────────────────────▶ asleep
 *                                                     └───── in vain too often, or no quicker than asleep ─▶ asleep, the longer the
 *                                                                                                            less it has paid
 *
 * The last is what happens where more processes want to be awake than there are cores.
 */
export class BusyPolling {
  #awake = false;
  /** When the first message left that nothing has come in after. */
  #sentAt: Instant | undefined;
  readonly #waits = new Waits();
  /** Quick answers asleep, less what slow ones among them have set back. */
  #rapid = 0;
  /** The mean of those that had it stay awake. */
  #asleepMs = 0;
  /** So many of those are asked for. */
  #wanted = RAPID;
  /** Answers awake, less what the waits in vain cost. */
  #credit = 0;
  #paid = false;

  /** A message of so many bytes has left. Returns until when to stay awake for an answer, `undefined` for not at all. */
  sent(bytes: number, now: Instant): Instant | undefined {
    if (bytes > FEW_BYTES) this.#sleep();
    else this.#sentAt ??= now;
    return this.#awake ? now + this.#patienceMs : undefined;
  }

  received(bytes: number, now: Instant): void {
    if (bytes > FEW_BYTES) this.#sleep();
    if (this.#sentAt === undefined) return;
    const wait = now - this.#sentAt;
    this.#sentAt = undefined;
    if (this.#awake) this.#answeredAwake(wait);
    else this.#answeredAsleep(wait);
  }

  get #patienceMs(): number {
    return this.#asleepMs * PATIENCE;
  }

  #answeredAsleep(wait: number): void {
    if (wait > QUICK_MS) return this.#setBack();
    this.#waits.add(wait);
    this.#rapid += 1;
    if (this.#rapid < this.#wanted) return;
    if (this.#waits.count >= RAPID) this.#asleepMs = this.#waits.mean; // of fewer it says little
    this.#waits.clear();
    this.#credit = MOST_CREDIT;
    this.#paid = false;
    this.#awake = true;
  }

  /** One that stood still for a moment doesn't make an exchange slow. */
  #setBack(): void {
    this.#rapid = Math.max(0, this.#rapid - SLOW);
    if (this.#rapid === 0) this.#waits.clear();
  }

  #answeredAwake(wait: number): void {
    this.#credit = Math.min(this.#credit + 1, MOST_CREDIT);
    if (wait > this.#patienceMs) this.#credit -= VAIN;
    if (this.#credit < 0) return this.#giveUp();
    // One that stood still for a moment, as for collecting garbage, shall not decide.
    this.#waits.add(Math.min(wait, STOOD_STILL * this.#asleepMs));
    if (this.#waits.count < VERDICT) return;
    this.#paid = this.#waits.mean < this.#asleepMs * WORTH_IT;
    this.#waits.clear();
    if (this.#paid) this.#wanted = RAPID;
    else this.#giveUp();
  }

  #giveUp(): void {
    this.#wanted = this.#paid ? AGAIN : Math.min(this.#wanted * 2, MOST_WANTED);
    this.#sleep();
  }

  #sleep(): void {
    this.#awake = false;
    this.#sentAt = undefined;
    this.#rapid = 0;
    this.#waits.clear();
  }
}

class Waits {
  count = 0;
  #sum = 0;

  get mean(): number {
    return this.#sum / this.count;
  }

  add(ms: number): void {
    this.count += 1;
    this.#sum += ms;
  }

  clear(): void {
    this.count = 0;
    this.#sum = 0;
  }
}

/** Within this answers come on the same machine or switch; over longer ways being woken is a small part. */
const QUICK_MS = 0.3;
/** So many quick answers are a rapid exchange. */
const RAPID = 8;
/** So many show that what had paid until a moment ago goes on. */
const AGAIN = 2;
/** A slow one takes away so many. */
const SLOW = 4;
/**
 * So many times as long as an answer took asleep. A core of a virtual machine stands still for about that long some hundred times a
 * second; whoever falls asleep then has the exchange stand still for longer, and the other end fall asleep as well.
 */
const PATIENCE = 4;
/** Whatever takes longer than so many times that stood still. */
const STOOD_STILL = 2.5;
/** So many answers win back one wait in vain. */
const VAIN = 6;
/** Three waits in vain in a row end it. */
const MOST_CREDIT = 2 * VAIN + 3;
/** After so many answers it shows whether being awake pays. */
const VERDICT = 64;
/** It does if they take at most this part of the time. */
const WORTH_IT = 0.95;
/** Three waits in vain among so many answers are next to nothing, and fewer than the slowest of a hundred. */
const MOST_WANTED = 1024;
/** More than this is bulk, which comes in TLS records of 16 KiB, and in which nobody waits for a single message. */
export const FEW_BYTES = 4096;
