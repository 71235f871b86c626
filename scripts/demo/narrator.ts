import { styleText } from 'node:util';

type Tone = 'plain' | 'good' | 'bad';

/** Tells a story on stdout: chapters, lines with a mark, a verdict. With `json`, one object per line instead. */
export class Narrator {
  #json: boolean;
  #started = performance.now();
  #chapter = '';
  #failures: string[] = [];

  constructor(json: boolean) {
    this.#json = json;
  }

  chapter(title: string): void {
    this.#chapter = title;
    if (!this.#json) this.#print(`\n${paint('bold', title)}`);
  }

  /** One thing that happened. `facts` are for machines. */
  say(text: string, facts: Record<string, unknown> = {}, tone: Tone = 'plain'): void {
    if (this.#json) return this.#object({ chapter: this.#chapter, text, ok: tone !== 'bad', ...facts });
    const mark = { plain: paint('dim', '·'), good: paint('green', '✓'), bad: paint('red', '✕') }[tone];
    this.#print(`${paint('dim', this.#clock())} ${mark} ${text}`);
  }

  /** Something that has to hold. */
  check(holds: boolean, text: string, facts: Record<string, unknown> = {}): void {
    if (!holds) this.#failures.push(text);
    this.say(text, facts, holds ? 'good' : 'bad');
  }

  /** A drawing, as it is. */
  draw(lines: readonly string[]): void {
    if (!this.#json) this.#print(lines.map((line) => `         ${paint('cyan', line)}`).join('\n'));
  }

  failed(why: string): void {
    this.#failures.push(why);
    this.say(why, {}, 'bad');
    this.conclude();
  }

  /** The exit status. */
  conclude(): number {
    const seconds = Math.round((performance.now() - this.#started) / 100) / 10;
    const ok = this.#failures.length === 0;
    if (this.#json) this.#object({ verdict: ok ? 'ok' : 'failed', seconds, failures: this.#failures });
    else if (ok) this.#print(`\n${paint('green', 'Everything above really happened')}, in ${seconds} s.\n`);
    else this.#print(`\n${paint('red', 'This did not go as it should:')} ${this.#failures.join('; ')}\n`);
    return ok ? 0 : 1;
  }

  #clock(): string {
    return `${((performance.now() - this.#started) / 1_000).toFixed(2).padStart(6)} s`;
  }

  #object(fields: Record<string, unknown>): void {
    this.#print(JSON.stringify({ ms: Math.round(performance.now() - this.#started), ...fields }));
  }

  #print(text: string): void {
    process.stdout.write(`${text}\n`);
  }
}

function paint(style: 'bold' | 'dim' | 'green' | 'red' | 'cyan', text: string): string {
  return process.stdout.isTTY && !process.env['NO_COLOR'] ? styleText(style, text) : text;
}
