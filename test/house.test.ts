import assert from "node:assert/strict";
import {
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type TestContext, test } from "node:test";
import {
  circlesIn,
  crowdedFolders,
  foldersWithoutDoor,
  importsBelow,
  pathsNamed,
  wrongImports,
} from "./house.ts";

const root = join(import.meta.dirname, "..");
const imports = importsBelow(root, "src");

/** From the ground up: whoever stands on one floor imports its own room and what lies below. */
const floors = [
  ["src/*.ts"],
  ["src/vmware", "src/cloudstack", "src/nbd", "src/state", "src/oma", "src/progress", "src/volume"],
  ["src/guest"],
  ["src/migration/*.ts"],
  ["src/migration/apply", "src/migration/volumes"],
  ["src/migration/account"],
  ["src/migration/vm"],
  ["src/migration/cycle"],
  ["src/migration/known"],
  ["src/migration/deploy"],
  [
    "src/migration/check",
    "src/migration/verify",
    "src/migration/convert",
    "src/migration/rehearse",
  ],
  [
    "src/migration/cutover",
    "src/migration/rollback",
    "src/migration/cleanup",
    "src/migration/list",
    "src/migration/inventory",
    "src/migration/export",
  ],
  ["src/fleet"],
  ["src/report", "src/manual"],
  ["src/commands", "src/version.ts"],
  ["src/cli.ts"],
];
const filesMost = 14;

/** A small tree of files, each with what it imports, that is gone after the test. */
function tree(t: TestContext, files: Record<string, string[]>): Map<string, string[]> {
  const folder = mkdtempSync(join(tmpdir(), "house-"));
  t.after(() => rmSync(folder, { recursive: true }));
  for (const [name, lines] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), lines.join("\n"));
  }
  return importsBelow(folder, "src");
}

test("no file of src imports itself by way of others", () => {
  assert.ok(imports.size > 100, `${imports.size} files`);
  assert.deepEqual(circlesIn(imports), []);
});

test("a circle is seen, be it of types, of what is passed on or of what is imported later", (t) => {
  const circle = tree(t, {
    "src/a.ts": ["import {", "  b,", '} from "./room/b.ts";', 'import { c } from "./c.ts";'],
    "src/room/b.ts": ['import type { A } from "../a.ts";'],
    "src/c.ts": ['export * from "./d.ts";'],
    "src/d.ts": ['import "./e.ts";'],
    "src/e.ts": ['const c = await import("./c.ts");'],
    "src/f.ts": ['import { a } from "./a.ts";', 'import { e } from "./e.ts";'],
  });
  assert.deepEqual(circlesIn(circle), [
    "src/a.ts -> src/room/b.ts -> src/a.ts",
    "src/c.ts -> src/d.ts -> src/e.ts -> src/c.ts",
  ]);
});

test(`no folder of src has more than ${filesMost} files, the ground and the commands apart`, () => {
  assert.deepEqual(crowdedFolders(imports.keys(), filesMost, ["src", "src/commands"]), []);
});

test("a folder with one file too many is seen, whatever the folders in it hold", (t) => {
  const names = ["src/room/a.ts", "src/room/b.ts", "src/room/c.ts", "src/room/inner/d.ts"];
  const files = tree(t, Object.fromEntries(names.map((name) => [name, []])));
  assert.deepEqual(crowdedFolders(files.keys(), 2, ["src"]), ["src/room has 3 files"]);
  assert.deepEqual(crowdedFolders(files.keys(), 3, []), []);
});

test("every folder of src has a file named like it, from which one reads on", () => {
  // A command is started by its name; a page of the manual stands for itself; the rooms of a
  // migration have doors of their own.
  const doorless = [
    ...["src", "src/commands", "src/commands/fleet", "src/manual", "src/migration"],
  ];
  assert.deepEqual(foldersWithoutDoor(imports.keys(), doorless), []);
});

test("a folder without its front door is seen", (t) => {
  const files = tree(t, { "src/room/room.ts": [], "src/room/inner/room.ts": [], "src/a.ts": [] });
  assert.deepEqual(foldersWithoutDoor(files.keys(), ["src"]), ["src/room/inner"]);
});

test("what stands higher in src imports what stands lower, and neighbours do not know each other", () => {
  assert.deepEqual(wrongImports(imports, floors), []);
});

test("an import upwards, of a neighbour or from outside all rooms is seen", (t) => {
  const files = tree(t, {
    "src/text.ts": ['import { one } from "./one/one.ts";'],
    "src/one/one.ts": [
      'import { inner } from "./inner/a.ts";',
      'import { text } from "../text.ts";',
    ],
    "src/one/inner/a.ts": ['import { two } from "../../two/two.ts";'],
    "src/two/two.ts": ['import type { Top } from "../top.ts";'],
    "src/top.ts": ['import { two } from "./two/two.ts";', 'import { text } from "./text.ts";'],
    "src/three/three.ts": [],
  });
  const floors = [["src/*.ts"], ["src/one", "src/two"], ["src/top.ts"]];
  assert.deepEqual(wrongImports(files, floors), [
    "src/one/inner/a.ts imports src/two/two.ts",
    "src/text.ts imports src/one/one.ts",
    "src/three/three.ts stands in no room",
    "src/two/two.ts imports src/top.ts",
  ]);
});

for (const page of ["docs/architecture.md", "CONTRIBUTING.md", "README.md"]) {
  test(`every file that ${page} names is there`, () => {
    const named = pathsNamed(readFileSync(join(root, page), "utf8"));
    const from = (path: string) =>
      /^(src|native|test|docs|\.ci)\//.test(path) ? "." : dirname(page);
    const missing = named.filter((path) => !existsSync(join(root, from(path), path)));
    assert.ok(named.length > 5, `${named.length} paths`);
    assert.deepEqual(missing, []);
  });
}

test("every test that docs/security.md rests on is there", () => {
  const page = readFileSync(join(root, "docs/security.md"), "utf8");
  const named = [...page.matchAll(/`(test\/[^`]*)`/g)].map(([, path]) => path!);
  const isThere = (path: string) => globSync([path, `${path}.*test.ts`], { cwd: root }).length > 0;
  assert.ok(named.length > 30, `${named.length} paths`);
  assert.deepEqual(
    named.filter((path) => !isThere(path)),
    [],
  );
});

test("paths are found in links, in code and in blocks of code, and nowhere else", () => {
  const page = [
    "See [the map](docs/map.md#rooms), [a page](https://example.org/src/x.ts) and src/not-code.ts.",
    "`src/a.ts` and `npm test -- test/state`; `/etc/src/b.ts` is of another.",
    ...["```text", "src/room/   a room", "  native/copier.cc", "```"],
  ];
  assert.deepEqual(pathsNamed(page.join("\n")), [
    ...["docs/map.md", "src/a.ts", "test/state", "src/room/", "native/copier.cc"],
  ]);
});
