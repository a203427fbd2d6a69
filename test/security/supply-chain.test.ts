// What comes from elsewhere: listed, justified, pinned, hashed, and without scripts of its own.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { test } from "node:test";

const root = join(import.meta.dirname, "../..");

interface Manifest {
  dependencies: Record<string, string>;
  devDependencies: Record<string, string>;
  allowScripts: Record<string, boolean>;
}

interface LockedPackage {
  version?: string;
  integrity?: string;
  resolved?: string;
  link?: boolean;
  hasInstallScript?: boolean;
}

const manifest = readJson<Manifest>("package.json");
const lock = readJson<{ packages: Record<string, LockedPackage> }>("package-lock.json");
const direct = { ...manifest.dependencies, ...manifest.devDependencies };
const locked = Object.entries(lock.packages).filter(([path]) => path !== "");

test("every direct dependency has one line of reason in docs/dependencies.md, and nothing else has", () => {
  const page = readFileSync(join(root, "docs/dependencies.md"), "utf8");
  const rows = [...page.matchAll(/^\| ([^|]+) \| ([^|]+) \|$/gm)].map(
    ([, name = "", why = ""]) => ({
      name: name.trim(),
      why: why.trim(),
    }),
  );
  const listed = rows.filter(({ name }) => name !== "package");
  assert.deepEqual(listed.map(({ name }) => name).sort(), Object.keys(direct).sort());
  for (const { name, why } of listed) assert.ok(why.length >= 15, `${name}: ${why}`);
});

test("direct dependencies are pinned to one version, and the lockfile has just that", () => {
  for (const [name, version] of Object.entries(direct)) {
    assert.match(version, /^\d+\.\d+\.\d+(-[\w.]+)?$/, `${name} ${version}`);
    assert.equal(lock.packages[`node_modules/${name}`]?.version, version, name);
  }
});

test("every package of the lockfile has an integrity hash and names no other source", () => {
  assert.ok(locked.length > 50);
  for (const [path, { integrity, resolved, link }] of locked) {
    assert.match(integrity ?? "", /^sha512-[A-Za-z0-9+/]{86}==$/, path);
    assert.equal(resolved, undefined, path);
    assert.equal(link, undefined, path);
  }
});

test("only packages that we know to have an install script have one, and it is not run", () => {
  const withScript = locked
    .filter(([, { hasInstallScript }]) => hasInstallScript)
    .map(([path]) => path.replace(/^.*node_modules\//, ""));
  assert.deepEqual(withScript.sort(), Object.keys(manifest.allowScripts).sort());
  assert.deepEqual([...new Set(Object.values(manifest.allowScripts))], [false]);
  const setup = readFileSync(join(root, ".ci/setup/node-packages.mjs"), "utf8");
  assert.match(setup, /\["ci", "--ignore-scripts"/);
});

const advisory = {
  id: 1,
  url: "https://example.org/advisory",
  title: "made up",
  severity: "high",
  vulnerable_versions: "*",
  cwe: [],
  cvss: { score: 9, vectorString: null },
};

for (const [title, status, body, exitCode, said] of [
  ["none are known", 200, {}, 0, /no known vulnerabilities/],
  [
    "one is known",
    200,
    { axios: [advisory] },
    1,
    /3 known vulnerabilities: axios \(high\), .*soap/,
  ],
  ["the registry answers no audits", 405, {}, 3, /NOT CHECKED/],
] as const) {
  test(`the audit of known vulnerabilities says so when ${title}`, async () => {
    await using registry = await startRegistry(status, body);
    const outcome = await new Promise<{ code: unknown; stderr: string }>((resolve) => {
      const env = {
        ...process.env,
        npm_config_registry: registry.url,
        npm_config_fetch_retries: "0",
      };
      execFile(process.execPath, [join(root, ".ci/audit.mjs")], { env }, (error, _, stderr) =>
        resolve({ code: error?.code ?? 0, stderr }),
      );
    });
    assert.match(outcome.stderr, said);
    assert.equal(outcome.code, exitCode);
    assert.doesNotMatch(outcome.stderr, /https?:/);
  });
}

async function startRegistry(status: number, body: object) {
  const server = createServer((request, response) => {
    request.resume();
    const isAudit = request.url?.includes("/advisories/bulk");
    response.writeHead(isAudit ? status : 404, { "Content-Type": "application/json" });
    response.end(JSON.stringify(isAudit ? body : { name: "axios", versions: {} }));
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
    },
  };
}

function readJson<T>(path: string): T {
  return JSON.parse(readFileSync(join(root, path), "utf8")) as T;
}
