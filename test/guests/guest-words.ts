// What a test guest has to say on its console when it has come up whole.

import assert from "node:assert/strict";
import type { GuestMachine } from "../lab/guest-machine.ts";
import { type GuestRecipe, nicName, saysPrefix } from "./debian/recipe.ts";

export interface Expected {
  marker: string;
  timeoutMs: number;
  /** [as at VMware] */
  root?: string | RegExp | undefined;
}

export function rawDisks(paths: readonly string[]) {
  return paths.map((path) => ({ path }));
}

/** Its word, its files, its root, its address under the name that its card had. */
export async function expectWords(
  machine: GuestMachine,
  recipe: GuestRecipe,
  { marker, timeoutMs, root }: Expected,
): Promise<void> {
  await machine.says(new RegExp(`${saysPrefix} ready`), timeoutMs);
  checkWords(machine.console(), recipe, marker, root);
}

export function checkWords(
  console: string,
  recipe: GuestRecipe,
  marker: string,
  root: string | RegExp = recipe.rootSaid ?? recipe.rootDevice,
): void {
  // The console is the kernel's and a login's as well, whose line may have begun before.
  const said = console.split(/\r?\n/).flatMap((line) => {
    const at = line.indexOf(saysPrefix);
    return at < 0 ? [] : [line.slice(at + saysPrefix.length).trim()];
  });
  assert.equal(said[0], `begin ${marker}`);
  assert.ok(said.includes("files OK"), said.join("; "));
  const rootLine = said.find((line) => line.startsWith("root ")) ?? "";
  if (typeof root === "string") assert.equal(rootLine, `root ${root} rw`);
  else assert.match(rootLine, root);
  const card = `nic ${nicName} ${recipe.mac} up ${recipe.address}`;
  assert.ok(said.includes(card), `no ${card}: ${said.join("; ")}\n${console.slice(-4000)}`);
}
