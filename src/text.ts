/** Texts as people read them: of other programs, addresses, amounts. */

/** Text of another program as one line that is safe in a message: no control characters, bounded. */
export function oneLine(text: string, lengthMax = 300): string {
  const line = text.replace(/[\p{Cc}\p{Zl}\p{Zp}\s]+/gu, " ").trim();
  return line.length > lengthMax ? `${line.slice(0, lengthMax)}…` : line;
}

/** `host:port`, brackets around an IPv6 address. */
export function hostAndPort(host: string, port: number): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** `1 sync`, `2 syncs`. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** `12.3 GiB`; three digits at most before the unit changes. */
export function formatBytes(bytes: number): string {
  const unit = unitFor(bytes);
  return `${inUnit(bytes, unit)} ${units[unit]}`;
}

/** `12.3/27.0 GiB`, both in the unit of the second; the first rounded down: nothing looks done too soon. */
export function formatBytesOf(bytes: number, ofBytes: number): string {
  const unit = unitFor(ofBytes);
  const doneBytes = Math.min(bytes, ofBytes);
  const done = doneBytes === ofBytes ? inUnit(ofBytes, unit) : inUnit(doneBytes, unit, Math.floor);
  return `${done}/${inUnit(ofBytes, unit)} ${units[unit]}`;
}

/** `110 MiB/s` */
export function formatRate(bytesPerSecond: number): string {
  return `${formatBytes(bytesPerSecond)}/s`;
}

/** `0:42`, `12:05`, `3:07:00`, `2d 4h`. */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const s = String(whole % 60).padStart(2, "0");
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}:${s}`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours}:${String(minutes % 60).padStart(2, "0")}:${s}`;
  return `${Math.floor(hours / 24)}d ${hours % 24}h`;
}

/** "40.0 GiB": rounded, so exact bytes stand beside it where they matter. */
export function sizeText(bytes: number): string {
  let unit = 0;
  let value = bytes;
  for (; value >= 1_024 && unit < 4; unit++) value /= 1_024;
  return unit === 0 ? `${value} bytes` : `${value.toFixed(1)} ${units[unit]}`;
}

function unitFor(bytes: number): number {
  let unit = 0;
  // 999.5 would be written as 1000.
  for (let rest = bytes; rest >= 999.5 && unit < units.length - 1; rest /= 1024) unit++;
  return unit;
}

function inUnit(
  bytes: number,
  unit: number,
  round: (value: number) => number = Math.round,
): string {
  const value = bytes / 1024 ** unit;
  if (unit === 0 || value >= 99.95) return String(round(value));
  return (round(value * 10) / 10).toFixed(1);
}
