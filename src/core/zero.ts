/**
 * Where a number begins that will have a fraction or pass 2^31: zero, as a number that V8 never keeps as a small integer. A
 * field that has held only those is of another kind from the first other number on, and then all compiled code that has met its object is
 * thrown away at once: a second of processor and more, in the middle of a transfer.
 */
export const ZERO = -0;
