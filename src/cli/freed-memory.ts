/**
 * Has glibc's malloc keep what is freed at the end of its heap. It gives that back to the kernel from 128 KiB on, where
 * nothing else happens to lie behind it. What a relay reads is freed by 32 MiB at a time and needed again at once, and to
 * get each page anew took up to 30 % of its processor's time. malloc takes the largest block that was mapped for itself
 * and freed as a measure, up to 32 MiB, and keeps twice as much (mallopt(3), M_MMAP_THRESHOLD). No other malloc minds.
 */
export function keepFreedMemory(): void {
  Buffer.allocUnsafeSlow(LARGEST_MEASURE); // garbage at once; no page of it is ever touched
}

/** With its own header and rounded to pages it is still below 32 MiB. */
const LARGEST_MEASURE = 31 * 1024 * 1024;
