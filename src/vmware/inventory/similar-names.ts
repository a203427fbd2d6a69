/** Which of many paths may have been meant by a mistaken one. Pure. */

/** Up to `count` paths, nearest first: the same last name in another place, then small misspellings. */
export function nearest(wanted: string, paths: readonly string[], count: number): string[] {
  const wantedPath = fold(wanted.startsWith("/") ? wanted : `/${wanted}`);
  const wantedName = lastName(wantedPath);
  return paths
    .map((path) => ({ path, score: score(wantedPath, wantedName, fold(path)) }))
    .filter(({ score }) => score < 1)
    .sort((a, b) => a.score - b.score || a.path.localeCompare(b.path))
    .slice(0, count)
    .map(({ path }) => path);
}

/** 0 is the same; 1 and more is not similar. A name that contains the other counts as near. */
function score(wantedPath: string, wantedName: string, path: string): number {
  const name = lastName(path);
  const whole = relativeDistance(wantedPath, path) / 1000; // only orders equals
  if (name === wantedName) return whole;
  const contained = Math.min(name.length, wantedName.length) >= 3;
  if (contained && (name.includes(wantedName) || wantedName.includes(name))) return 0.3 + whole;
  const relative = relativeDistance(wantedName, name);
  return relative <= 0.5 ? 0.1 + relative + whole : 1;
}

function relativeDistance(a: string, b: string): number {
  const longest = Math.max(a.length, b.length);
  return longest === 0 ? 0 : editDistance(a, b) / longest;
}

/** Insertions, deletions and replacements between two texts; long ones are compared by their ends. */
function editDistance(a: string, b: string): number {
  const from = a.slice(-200);
  const to = b.slice(-200);
  let previous = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let row = 1; row <= from.length; row++) {
    const current = [row];
    for (let column = 1; column <= to.length; column++) {
      const replaced = (previous[column - 1] ?? 0) + (from[row - 1] === to[column - 1] ? 0 : 1);
      const shifted = Math.min(previous[column] ?? 0, current[column - 1] ?? 0) + 1;
      current.push(Math.min(replaced, shifted));
    }
    previous = current;
  }
  return previous[to.length] ?? 0;
}

function lastName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

function fold(path: string): string {
  return path.normalize("NFC").toLowerCase();
}
