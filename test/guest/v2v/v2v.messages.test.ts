import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { findingOf, refusalOf } from "../../../src/guest/v2v/classify.ts";
import { diskName, libvirtXml } from "../../../src/guest/v2v/libvirt-xml.ts";
import { parseMessage } from "../../../src/guest/v2v/messages.ts";

const warning = (text: string) => findingOf({ type: "warning", text })?.level;
const error = (text: string) => refusalOf([{ type: "error", text }]).kind;

test("lines of virt-v2v are told from others", () => {
  const line = '{ "message": "Opening the\\nsource", "timestamp": "2026", "type": "message" }';
  assert.deepEqual(parseMessage(line), { type: "message", text: "Opening the source" });
  for (const other of ["[   0.0] Opening", "7", "null", '{"type":"progress"}', "{", "[]"]) {
    assert.equal(parseMessage(other), undefined, other);
  }
});

test("warnings are harmless, or say that the guest will not boot, or are to be looked at when unknown", () => {
  const drivers = "there are no virtio drivers available for this version of Windows (10.0 x86_64)";
  assert.equal(warning(drivers), "will-not-boot");
  assert.equal(
    warning("there is no virtio network driver for this version of Windows"),
    "harmless",
  );
  assert.equal(
    warning("fstrim on guest filesystem /dev/sda1 failed. Usually you can ignore"),
    "harmless",
  );
  assert.equal(
    warning("could not determine a way to update the configuration of Grub2"),
    "harmless",
  );
  assert.equal(warning("this guest has Windows Group Policy Objects (GPO) and a new"), "look");
  assert.equal(warning("something that no version has said before"), "look");
  assert.equal(findingOf({ type: "info", text: "This guest has virtio drivers" }), undefined);
});

test("errors are the guest's kind, its present state, or neither", () => {
  assert.equal(
    error("virt-v2v is unable to convert this guest type (linux/gentoo)"),
    "unsupported",
  );
  assert.equal(
    error("inspection could not detect the source guest (or physical machine)."),
    "unsupported",
  );
  assert.equal(
    error("not enough free space for conversion on filesystem ‘/’. 1.0 MB free"),
    "will-not-boot",
  );
  assert.equal(
    error("unable to mount the disk image for writing. Windows Hibernation or Fast Restart"),
    "will-not-boot",
  );
  assert.equal(error("libguestfs error: appliance closed the connection"), "unknown");
  assert.deepEqual(refusalOf([]), { kind: "unknown", text: "it said nothing" });
});

test("the machine's description is XML, whatever its name holds", () => {
  const hardware = {
    ...{
      name: "a<b>&'\"\u0007ü",
      firmware: "uefi" as const,
      secureBoot: true,
      cpus: 2,
      memoryMiB: 512,
    },
    nics: [{ mac: "00:50:56:00:00:01", addresses: [] }],
  };
  const disk = { diskId: "disk-2000", uri: "nbd://h/x", capacityBytes: 1 };
  const xml = libvirtXml(hardware, [
    { disk, path: "/tmp/a&b.qcow2" },
    { disk, path: "/tmp/c.qcow2" },
  ]);
  const script = `import sys, xml.etree.ElementTree as e
d = e.fromstring(sys.stdin.buffer.read())
print(d.findtext("name"), d.find("os").get("firmware"), d.find("os/firmware/feature").get("enabled"))
print(*[s.get("file") for s in d.iter("source") if s.get("file")], *[t.get("dev") for t in d.iter("target")])
print(d.find("devices/interface/mac").get("address"))`;
  const { stdout } = spawnSync("python3", ["-c", script], { input: xml, encoding: "utf8" });
  assert.equal(
    stdout,
    `a<b>&'"?ü efi yes\n/tmp/a&b.qcow2 /tmp/c.qcow2 sda sdb\n00:50:56:00:00:01\n`,
  );
});

test("disks are counted as Linux does", () => {
  assert.deepEqual(
    [0, 25, 26, 51, 52, 701, 702].map((index) => diskName("sd", index)),
    ["sda", "sdz", "sdaa", "sdaz", "sdba", "sdzz", "sdaaa"],
  );
});
