import { setFlagsFromString } from "node:v8";

/**
 * For what reads much and keeps little: V8 lets its heap grow to many times what is in use while there is room
 * in the machine, and does not give it back. Costs no time where most of what is made is soon garbage. Both
 * only steer how far the heap grows at the collections to come.
 */
export function keepHeapSmall(): void {
  setFlagsFromString("--semi-space-growth-factor=1");
  setFlagsFromString("--heap-growing-percent=30");
}
