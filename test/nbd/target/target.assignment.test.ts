import assert from "node:assert/strict";
import { test } from "node:test";
import { MigratekitError } from "../../../src/errors.ts";
import type { TargetDisk } from "../../../src/nbd/target/disk.ts";
import { assignTargets, expandExportName, parseTargets } from "../../../src/nbd/target/target.ts";
import { nbdUri, targetIdentity } from "../../../src/nbd/target/uri.ts";

const disks: TargetDisk[] = [
  { key: 2000, label: "Hard disk 1", capacityBytes: 40 * 2 ** 30 },
  { key: 2001, label: "Hard disk 2", capacityBytes: 115 * 2 ** 30 },
];
const byName = { exportName: "migration", host: "127.0.0.1", port: 10_808 };

test("device keys are taken with and without disk- and in any order", () => {
  const targets = parseTargets(
    "disk-2001:nbds://storage.example:10809/b, 2000:nbd+unix:///a?socket=/run/nbd.sock",
  );
  assert.deepEqual(
    [...targets],
    [
      [2001, "nbds://storage.example:10809/b"],
      [2000, "nbd+unix:///a?socket=/run/nbd.sock"],
    ],
  );
});

test("URIs come out normal: port shown, name escaped, host as given", () => {
  const targets = parseTargets(
    "1:nbd://h/a b,2:nbd://[FE80::1]:7/ü%3F,3:nbds+unix://user@/x?socket=%2Ftmp%2Fa%20b",
  );
  assert.deepEqual(
    [...targets.values()],
    ["nbd://h:10809/a%20b", "nbd://[FE80::1]:7/%C3%BC%3F", "nbds+unix:///x?socket=/tmp/a%20b"],
  );
});

const badEntries: [flag: string, reason: RegExp][] = [
  ["", /entry 1 \(empty\): it does not begin with a device key/],
  ["nbd://h:1/x", /entry 1 \(nbd:\/\/h:1\/x\): it does not begin with a device key/],
  ["2000:nbd://h:1/x,", /entry 2 \(empty\)/],
  ["2000=nbd://h:1/x", /does not begin with a device key/],
  ["disk-:nbd://h:1/x", /does not begin with a device key/],
  ["2000:nbd://h:1/x,2000:nbd://h:1/y", /entry 2 .*: disk 2000 has a target already/],
  ["2000:nbd://h:1/x,2001:http://h:1/y", /entry 2 .*"http" is none of nbd/],
  ["2000:h:10809/x", /it is no URI/],
  ["2000:nbd://h:99999/x", /"99999" is no port/],
  ["2000:nbd://h:/x", /"" is no port/],
  ["2000:nbd://h:0/x", /"0" is no port/],
  ["2000:nbd://:10809/x", /names no host/],
  ["2000:nbd:///x", /names no host/],
  ["2000:nbd://::1:10809/x", /IPv6 address needs brackets/],
  ["2000:nbd://[::zz]:1/x", /is no host name or address/],
  ["2000:nbd://h o:1/x", /is no host name or address/],
  ["2000:nbd://h:1/a%zz", /"%" that begins no escape/],
  ["2000:nbd://h:1/a%00b", /holds a NUL/],
  ["2000:nbd://h:1/a?b", /"b" is no parameter/],
  ["2000:nbd://h:1/a#b", /holds a "#"/],
  [`2000:nbd://h:1/${"n".repeat(4097)}`, /more than 4096 bytes/],
  ["2000:nbd+unix:///x", /names no socket/],
  ["2000:nbd+unix:///x?socket=relative", /names no socket/],
  ["2000:nbd+unix://h/x?socket=/s", /"h" stands where no host belongs/],
  ["2000:nbd://h:1/x?socket=/s", /only nbd\+unix has a socket/],
];

for (const [flag, reason] of badEntries) {
  test(`--nbd-targets '${flag.slice(0, 60)}' is refused with entry, reason and right form`, () => {
    assert.throws(
      () => parseTargets(flag),
      (error: unknown) => {
        assert.ok(error instanceof MigratekitError);
        assert.equal(error.code, "usage");
        assert.match(error.message, reason);
        assert.ok(!error.message.includes("\n"));
        assert.match(error.remedy, /2000:nbd:\/\/host:port\/export/);
        return true;
      },
    );
  });
}

test("a password in a URI is refused without being shown", () => {
  for (const flag of ["2000:nbds://user:s3cret@h:1/x", "2000:user:s3cret@h", "x//a:s3cret@h:1/x"]) {
    assert.throws(
      () => parseTargets(flag),
      (error: MigratekitError) => {
        assert.ok(!`${error.message} ${error.remedy}`.includes("s3cret@h:1"), error.message);
        return error.code === "usage";
      },
    );
  }
  assert.throws(() => parseTargets("2000:nbds://user:s3cret@h:1/x"), /holds a password/);
});

test("two disks on one target are refused, however the target is spelled", () => {
  const spellings = [
    ["nbd://127.0.0.1:10809/x", "nbd://localhost/x"],
    ["nbd://127.0.0.1:10809/x", "nbds://user@127.0.0.1/x"],
    ["nbd://[::1]/x", "nbd://[0:0:0:0:0:0:0:1]:10809/x"],
    ["nbd://[::ffff:10.0.0.1]/x", "nbd://10.0.0.1/x"],
    ["nbd://Host.Example./x", "nbd://host.example:10809/x"],
    ["nbd://h/a%2Fb", "nbd://h/a/b"],
    ["nbd://h/%78", "nbd://h/x"],
    ["nbd+unix:///x?socket=/run//s", "nbd+unix:///x?socket=/run/s"],
  ];
  for (const [a, b] of spellings) {
    assert.throws(() => parseTargets(`2000:${a},2001:${b}`), /disk-2000 and disk-2001 would both/);
  }
  assert.equal(parseTargets("2000:nbd://h/x,2001:nbd://h/X").size, 2);
  assert.equal(parseTargets("2000:nbd://h:1/x,2001:nbd://h:2/x").size, 2);
});

test("every disk gets the target given for its key", () => {
  const nbdTargets = "disk-2001:nbd://h:1/b,2000:nbd://h:1/a";
  assert.deepEqual(
    [...assignTargets(disks, { ...byName, nbdTargets })],
    [
      [2000, "nbd://h:1/a"],
      [2001, "nbd://h:1/b"],
    ],
  );
});

test("a target for a disk that the VM does not have is refused, unless it is left out", () => {
  const nbdTargets = "2000:nbd://h:1/a,2001:nbd://h:1/b,2002:nbd://h:1/c";
  assert.throws(
    () => assignTargets(disks, { ...byName, nbdTargets }),
    /names disk 2002, but the VM has 2 disks: disk-2000 \(Hard disk 1, 40\.0 GiB\)/,
  );
  assert.equal(assignTargets(disks, { ...byName, nbdTargets, skippedKeys: [2002] }).size, 2);
});

test("a disk without a target is refused with what to add", () => {
  assert.throws(
    () => assignTargets(disks, { ...byName, nbdTargets: "2000:nbd://h:1/a" }),
    (error: MigratekitError) => {
      assert.match(error.message, /no target for disk-2001 \(Hard disk 2, 115\.0 GiB\)/);
      assert.match(error.remedy, /2001:nbd:\/\/host:port\/export/);
      return error.code === "usage";
    },
  );
});

test("a disk that was copied to the one export before keeps it where a second disk came", () => {
  const knownTargets = new Map([
    [2000, "localhost:10808#migration"],
    [2001, "localhost:10808#something-else"],
  ]);
  assert.throws(
    () => assignTargets(disks, { ...byName, knownTargets }),
    (error: MigratekitError) => {
      const paste = /--nbd-targets '([^']+)'/.exec(error.remedy)?.[1] ?? "";
      assert.deepEqual(
        [...parseTargets(paste).values()],
        ["nbd://127.0.0.1:10808/migration", "nbd://127.0.0.1:10808/migration-2001"],
      );
      return true;
    },
  );
});

test("one export without placeholder serves one disk", () => {
  assert.deepEqual(
    [...assignTargets([disks[0]!], byName)],
    [[2000, "nbd://127.0.0.1:10808/migration"]],
  );
});

test("one export for two disks is refused with the disks and targets ready to paste", () => {
  assert.throws(
    () => assignTargets(disks, { ...byName, exportName: "vol 1" }),
    (error: MigratekitError) => {
      assert.match(error.message, /disk-2000 \(Hard disk 1.*disk-2001 \(Hard disk 2/);
      const paste = /--nbd-targets '([^']+)'/.exec(error.remedy)?.[1] ?? "";
      assert.deepEqual(
        [...parseTargets(paste)],
        [
          [2000, "nbd://127.0.0.1:10808/vol%201-2000"],
          [2001, "nbd://127.0.0.1:10808/vol%201-2001"],
        ],
      );
      return error.code === "usage";
    },
  );
});

test("placeholders name each disk's export", () => {
  assert.equal(expandExportName("v-{key}.{index}/{key}{x}", { key: 7, index: 1 }), "v-7.1/7{x}");
  assert.deepEqual(
    [...assignTargets(disks, { ...byName, exportName: "vol-{index}" }).values()],
    ["nbd://127.0.0.1:10808/vol-0", "nbd://127.0.0.1:10808/vol-1"],
  );
  const second = { ...disks[1]!, index: 1 };
  assert.deepEqual(
    [...assignTargets([second], { ...byName, exportName: "vol-{index}" }).values()],
    ["nbd://127.0.0.1:10808/vol-1"],
  );
});

test("a host that is none is refused by name of the flags", () => {
  for (const host of ["", "a b", "x/y", "h:1"]) {
    assert.throws(
      () => assignTargets([disks[0]!], { ...byName, host }),
      /--nbd-host, --nbd-port and --nbd-export-name/,
    );
  }
});

test("an IPv6 host works with and without brackets", () => {
  assert.equal(nbdUri("::1", 1, "x"), "nbd://[::1]:1/x");
  assert.equal(nbdUri("[::1]", 1, "x"), "nbd://[::1]:1/x");
});

test("the identity of a target does not change with its spelling", () => {
  assert.equal(targetIdentity("nbds://u@LOCALHOST/a%2Fb?tls-psk-file=z"), "localhost:10809#a/b");
  assert.equal(targetIdentity("nbd+unix:///e?socket=%2Frun%2Fs"), "unix:/run/s#e");
});
