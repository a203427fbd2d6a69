/** Checks at the edge: native code trusts what passed here. Mistakes are TypeError and RangeError. */

interface CheckedEndpoint {
  uri: string;
  connections?: number;
}

interface CheckedOptions {
  source: CheckedEndpoint;
  target: CheckedEndpoint;
  capacityBytes: number;
  requestBytes?: number;
  gapBytes?: number;
  stallTimeoutMs?: number;
  flushTimeoutMs?: number;
  retry?: { attempts: number; maxElapsedMs: number };
  checkpointIntervalMs?: number;
  differencesMaximum?: number;
}

/** @throws TypeError, RangeError */
export function checkEndpoint(endpoint: CheckedEndpoint): void {
  if (typeof endpoint.uri !== "string" || endpoint.uri === "")
    throw new TypeError("An NBD endpoint needs a uri.");
  checkInteger("connections", endpoint.connections, 1, 64);
}

/** All of them but the extents, which are checked page by page. @throws TypeError, RangeError */
export function checkCopyOptions(options: CheckedOptions): void {
  checkEndpoint(options.source);
  checkEndpoint(options.target);
  if (options.capacityBytes === undefined) throw new TypeError("capacityBytes is missing.");
  checkInteger("capacityBytes", options.capacityBytes, 0, Number.MAX_SAFE_INTEGER);
  checkInteger("requestBytes", options.requestBytes, 4096, 2 ** 26);
  checkInteger("gapBytes", options.gapBytes, 0, 2 ** 20);
  checkLimits(options);
  checkInteger("retry.attempts", options.retry?.attempts, 0, 10_000);
  checkInteger("retry.maxElapsedMs", options.retry?.maxElapsedMs, 0, 2 ** 31);
  checkInteger("checkpointIntervalMs", options.checkpointIntervalMs, 10, 2 ** 31);
  checkInteger("differencesMaximum", options.differencesMaximum, 1, 1_000_000);
}

/** Times after which a server counts as lost, in milliseconds. @throws TypeError, RangeError */
export function checkLimits(limits: {
  stallTimeoutMs?: number | undefined;
  flushTimeoutMs?: number | undefined;
}): void {
  checkInteger("stallTimeoutMs", limits.stallTimeoutMs, 100, 2 ** 31);
  checkInteger("flushTimeoutMs", limits.flushTimeoutMs, 100, 2 ** 31);
}

/** Of a read whose bytes enter JavaScript: few. */
export function checkRead(offset: number, lengthBytes: number): void {
  checkInteger("offset", offset, 0, Number.MAX_SAFE_INTEGER);
  checkInteger("lengthBytes", lengthBytes, 0, 2 ** 20);
}

function checkInteger(name: string, value: number | undefined, least: number, most: number): void {
  if (value === undefined) return;
  if (!Number.isSafeInteger(value) || value < least || value > most)
    throw new RangeError(`${name} must be an integer from ${least} to ${most}, not ${value}.`);
}

/** Pairs of whole, exact numbers. */
export function checkRange(pairs: Float64Array): void {
  if (!(pairs instanceof Float64Array) || pairs.length % 2 !== 0)
    throw new TypeError("Extents must be a Float64Array of pairs [offset, length, …].");
  for (const value of pairs)
    if (!Number.isSafeInteger(value) || value < 0)
      throw new RangeError(`Extents must be exact, non-negative integers, not ${value}.`);
}

/** Also sorted, disjoint and after `end`. Returns where the page ends. */
export function checkPage(page: Float64Array, end: number): number {
  checkRange(page);
  let last = end;
  for (let i = 0; i < page.length; i += 2) {
    const offset = page[i] as number;
    if (offset < last)
      throw new RangeError(`Extents must be sorted and disjoint: ${offset} follows ${last}.`);
    last = offset + (page[i + 1] as number);
  }
  return last;
}
