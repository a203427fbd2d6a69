// How a fleet's database is named and connected to.

import assert from "node:assert/strict";
import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { parseDatabaseAddress } from "../../../src/fleet/database/address.ts";
import { schemaSteps } from "../../../src/fleet/database/schema/schema.ts";
import { FleetStore } from "../../../src/fleet/database/store.ts";
import { createLogger } from "../../../src/logger.ts";
import { LabPostgres } from "../../lab/postgres.ts";
import { makeNbdCertificates } from "../../lab/tls.ts";
import { tempDir } from "../../temp-dir.ts";

const folder = await tempDir();
after(() => folder[Symbol.asyncDispose]());
const certificates = await makeNbdCertificates(folder.path);
const access = [
  "hostnossl secret all 127.0.0.1/32 reject",
  "hostssl secret all 127.0.0.1/32 scram-sha-256",
];
const server = await LabPostgres.start({ access, certificates: certificates.serverDir });
after(() => server[Symbol.asyncDispose]());
await server.createDatabase("secret");
await server.psql("postgres", "ALTER ROLE secret PASSWORD 'open sesame'");
const passwordFile = join(folder.path, "password");
await writeFile(passwordFile, "open sesame\n", { mode: 0o600 });

const silent = createLogger({ level: "silent", pretty: false });

async function init(url: string, file: string | null = passwordFile) {
  await using store = await FleetStore.open(url, file ?? undefined, silent, {
    application: "test",
  });
  return await store.init();
}

const tls = `${server.url("secret", "secret")}?sslmode=verify-full&sslrootcert=${certificates.caFile}`;

test("with TLS, the server's certificate verified, and a password out of a file", async () => {
  assert.equal((await init(tls)).version, schemaSteps.length);
});

for (const [title, url, file, code] of [
  [
    "the certificate is not trusted",
    tls.replace(/&sslrootcert.*/, ""),
    passwordFile,
    "certificate",
  ],
  ["the server wants TLS", server.url("secret", "secret"), passwordFile, "login"],
  ["the server has no such user", tls.replace("secret@", "nobody@"), passwordFile, "login"],
  ["no password is given", tls, null, "login"],
  ["there is no such database", server.url("nothing"), null, "login"],
  ["nobody listens", "postgres://a@127.0.0.1:1/b", null, "unreachable"],
  [
    "the name has no address",
    "postgres://a@nowhere.invalid/b?sslmode=disable",
    null,
    "unreachable",
  ],
] as const) {
  test(`it is said that ${title}`, async () => {
    await assert.rejects(init(url, file), (error: Error & { code: string }) => {
      assert.equal(error.code, `fleet-database-${code}`, error.message);
      assert.doesNotMatch(error.message, /sesame/);
      return true;
    });
  });
}

test("encrypted without a look at the certificate only where that is asked for", async () => {
  assert.equal(
    (await init(tls.replace(/sslmode.*/, "sslmode=require"))).version,
    schemaSteps.length,
  );
});

test("the authority alone can be verified, whatever the server's name", async () => {
  const url = tls.replace("127.0.0.1", "127.0.0.2").replace("verify-full", "verify-ca");
  await assert.rejects(
    init(url),
    { code: "fleet-database-unreachable" },
    "the lab listens at one address",
  );
  assert.equal((await init(tls.replace("verify-full", "verify-ca"))).version, schemaSteps.length);
});

test("over a Unix socket", async () => {
  assert.equal(
    (await init(server.socketUrl("secret", "secret"), null)).version,
    schemaSteps.length,
  );
});

test("a password file that others can read is warned of, an empty one refused", async () => {
  await chmod(passwordFile, 0o644);
  const lines: string[] = [];
  const destination = { write: (line: string) => void lines.push(line) };
  const logger = createLogger({ level: "warn", pretty: false, destination });
  const store = await FleetStore.open(tls, passwordFile, logger, { application: "test" });
  await store[Symbol.asyncDispose]();
  await chmod(passwordFile, 0o600);
  assert.match(lines.join(""), /others can read the password file/);
  const empty = join(folder.path, "empty");
  await writeFile(empty, "");
  await assert.rejects(init(tls, empty), {
    code: "usage",
    message: /--fleet-database-password-file/,
  });
});

test("what is not on this machine is spoken to with TLS unless that is declined", () => {
  const tlsOf = (url: string) => parseDatabaseAddress(url).tls;
  assert.equal(tlsOf("postgres://u@localhost/d"), false);
  assert.equal(tlsOf("postgres://u@/d?host=/run/postgresql"), false);
  assert.equal(tlsOf("postgres://u@[::1]:5433/d"), false);
  assert.equal(tlsOf("postgres://u@db.example/d?sslmode=disable"), false);
  assert.deepEqual(tlsOf("postgres://u@db.example/d"), { rejectUnauthorized: true });
});

for (const [url, message] of [
  ["postgres://u:sesame@db/d", /may hold no password/],
  ["postgres://u@db/d?password=sesame", /may hold no password/],
  ["mysql://u@db/d", /postgres:/],
  ["db", /of the form/],
  ["postgres://db/d", /no user/],
  ["postgres://u@db", /no database/],
  ["postgres://u@/d", /no host/],
  ["postgres://u@db:0/d", /port/],
  ["postgres://u@db/d?sslmode=prefer", /sslmode=prefer/],
  ["postgres://u@db/d?sslrotcert=x", /sslrotcert/],
  ["postgres://u@db/d?sslrootcert=/nowhere", /no such file/],
  [`postgres://u@db/d?sslrootcert=${passwordFile}`, /no certificate/],
] as const) {
  test(`${url.replace(folder.path, "")} is refused`, () => {
    assert.throws(
      () => parseDatabaseAddress(url),
      (error: Error & { code: string }) => {
        assert.equal(error.code, "usage");
        assert.match(error.message, message);
        assert.doesNotMatch(error.message, /sesame/);
        return true;
      },
    );
  });
}
