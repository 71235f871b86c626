/** The part of the `stun` package that `message.ts` uses; the package ships no types. */
declare module 'stun' {
  interface StunAttribute {
    readonly type: number;
    readonly value: unknown;
  }
  class StunRequest {
    addAttribute(type: number, ...values: unknown[]): StunAttribute | undefined;
    addError(code: number, reason?: string): StunAttribute | undefined;
  }
  class StunResponse {
    getAttribute(type: number): StunAttribute | undefined;
  }
  const stun: {
    createMessage(type: number, transactionId: Buffer): StunRequest;
    encode(message: StunRequest): Buffer;
    decode(bytes: Buffer): StunResponse;
  };
  export default stun;
}
