/** `after`: which VMs have to be cut over before others. */
import { MigratekitError } from "../../errors.ts";

export interface Ordered {
  readonly name: string;
  readonly vmPath: string;
  /** As written. */
  readonly after: readonly string[];
  /** `FILE:LINE: after` */
  readonly afterPlace: string;
}

/**
 * Names as the plan has them, by VM in the same order; they may be written as paths. What names no VM of
 * the plan, or more than one, is told to `onMistake` and left out.
 */
export function resolveAfter(
  vms: readonly Ordered[],
  onMistake: (mistake: MigratekitError) => void,
): (readonly string[])[] {
  const known = new Map<string, Set<string>>();
  for (const { name, vmPath } of vms) {
    for (const spelling of [name, vmPath, lastPart(vmPath)]) {
      const names = known.get(spelling) ?? new Set();
      known.set(spelling, names.add(name));
    }
  }
  return vms.map(({ after, afterPlace }) => {
    const found = after.flatMap((written) => {
      const names = [...(known.get(written) ?? [])];
      if (names.length === 1) return names;
      const why =
        names.length === 0
          ? "which is no VM of this plan"
          : `which may be ${names.slice(0, 3).join(", ")}${names.length > 3 ? ", …" : ""}`;
      onMistake(new MigratekitError("usage", `${afterPlace} has "${written}", ${why}`));
      return [];
    });
    return [...new Set(found)];
  });
}

/**
 * Every circle once, as `a -> b -> a`, at its first VM in the plan's order: none of its VMs could ever be cut
 * over.
 */
export function circlesOf(
  vms: readonly { readonly name: string; readonly after: readonly string[] }[],
): string[][] {
  const afterOf = new Map(vms.map(({ name, after }) => [name, after]));
  const circles: string[][] = [];
  const done = new Set<string>();
  for (const { name } of vms) {
    // A stack of our own: a chain may be as long as the plan.
    const way: { name: string; next: number }[] = done.has(name) ? [] : [{ name, next: 0 }];
    const onWay = new Set([name]);
    while (way.length > 0) {
      const top = way.at(-1)!;
      const other = afterOf.get(top.name)?.[top.next++];
      if (other === undefined) {
        way.pop();
        onWay.delete(top.name);
        done.add(top.name);
      } else if (onWay.has(other)) {
        const from = way.findIndex((step) => step.name === other);
        circles.push([...way.slice(from).map((step) => step.name), other]);
      } else if (!done.has(other)) {
        way.push({ name: other, next: 0 });
        onWay.add(other);
      }
    }
  }
  return circles;
}

function lastPart(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}
