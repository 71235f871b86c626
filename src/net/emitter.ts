import { EventEmitter } from 'node:events';
import { uncaught } from './uncaught.ts';

/** For events that the program hears as well as we do: each listener is told, whatever another one throws. */
export class Emitter<Events extends Record<keyof Events, unknown[]>> extends EventEmitter<Events> {
  override emit: EventEmitter<Events>['emit'] = (name, ...given) => {
    const listeners: Function[] = this.rawListeners(name);
    if (listeners.length === 0) return super.emit(name, ...given); // which throws an 'error'
    for (const listener of listeners) {
      try {
        listener.apply(this, given);
      } catch (thrown) {
        uncaught(thrown);
      }
    }
    return true;
  };
}
