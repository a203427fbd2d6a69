import assert from "node:assert/strict";
import { test } from "node:test";
import {
  applianceName,
  devicesNamedIn,
  withUuidsInOptions,
  withUuidsInTable,
} from "../../../src/guest/repairs/device-names.ts";
import {
  namesByLink,
  namesByRule,
  readIfcfg,
  readIfupdown,
  readKeyfile,
  readNetplan,
  readNetworkd,
} from "../../../src/guest/repairs/nic-configuration.ts";
import { linkFile, pinNames } from "../../../src/guest/repairs/nic-names.ts";

const uuidOf = (device: Parameters<typeof applianceName>[0]) =>
  ({ "/dev/sda1": "aaaa-1", "/dev/sda5": "aaaa-5", "/dev/sdb": "bbbb-0" })[applianceName(device)];

test("names of disks are told from what only begins so", () => {
  const text =
    "/dev/sda1 /dev/vdb,/dev/hdc2 /dev/sdaa3 /dev/sda-data /dev/vda/x /dev/sdb1.old /dev/vdo /dev/sr0";
  assert.deepEqual(
    devicesNamedIn(text).map((device) => [device.name, applianceName(device)]),
    [
      ["/dev/sda1", "/dev/sda1"],
      ["/dev/vdb", "/dev/sdb"],
      ["/dev/hdc2", "/dev/sdc2"],
      ["/dev/sdaa3", "/dev/sdaa3"],
      ["/dev/vdo", "/dev/sdo"],
    ],
  );
});

test("fstab: the device becomes a UUID, and nothing else changes", () => {
  const fstab = `# /dev/sda1 was the root
/dev/vda1\t/ ext4 defaults 0 1
/dev/sda5 none swap sw 0 0
/dev/sdb /srv/dev/sda1 xfs defaults 0 2
/dev/sdc1 /gone ext4 defaults 0 2
UUID=x /boot ext4 defaults 0 2
/dev/mapper/vg-home /home ext4 defaults 0 2
`;
  const expected = fstab
    .replace("/dev/vda1\t", "UUID=aaaa-1\t")
    .replace("/dev/sda5 none", "UUID=aaaa-5 none")
    .replace("/dev/sdb /srv", "UUID=bbbb-0 /srv");
  assert.equal(withUuidsInTable(fstab, 0, uuidOf), expected);
});

test("crypttab: the second field is the device", () => {
  const crypttab = "sda5_crypt /dev/sda5 none luks\n";
  assert.equal(withUuidsInTable(crypttab, 1, uuidOf), "sda5_crypt UUID=aaaa-5 none luks\n");
});

test("kernel options: root is what is known of it, whatever its name; resume goes by its name", () => {
  const line = 'linux /vmlinuz root=/dev/sdz1 resume=/dev/sda5 x=/dev/sda1 "root=/dev/sda-1"';
  assert.equal(
    withUuidsInOptions(line, uuidOf, "root-uuid"),
    'linux /vmlinuz root=UUID=root-uuid resume=UUID=aaaa-5 x=/dev/sda1 "root=/dev/sda-1"',
  );
  assert.equal(withUuidsInOptions("root=/dev/sdz1", uuidOf), "root=/dev/sdz1");
  assert.equal(withUuidsInOptions("RESUME=/dev/sda5", uuidOf), "RESUME=UUID=aaaa-5");
});

const nics = [1, 2, 3].map((n) => ({ mac: `00:50:56:00:00:0${n}`, addresses: [] }));
const named = (...names: string[]) => names.map((name) => ({ name, file: "f" }));

test("a name belongs to the card whose MAC its configuration says, and the rest goes by VMware's slots", () => {
  const configured = [
    ...named("ens256", "ens192", "lo"),
    { name: "ens224", mac: "00:50:56:00:00:01", file: "f" },
  ];
  assert.deepEqual(pinNames(configured, nics), {
    pins: [
      { name: "ens224", mac: "00:50:56:00:00:01" },
      { name: "ens192", mac: "00:50:56:00:00:02" },
      { name: "ens256", mac: "00:50:56:00:00:03" },
    ],
    unknown: [],
  });
  // ens161 is the slot of the fifth card, though its number is less.
  const sorted = pinNames(named("ens161", "ens192"), nics.slice(0, 2));
  assert.deepEqual(
    sorted.pins.map(({ name }) => name),
    ["ens192", "ens161"],
  );
});

test("where there are more cards than names, nobody guesses", () => {
  const result = pinNames(named("ens192", "ens224"), nics);
  assert.deepEqual(result, { pins: [], unknown: ["ens192", "ens224"] });
  assert.deepEqual(pinNames(named("eth0", "bond0", "br0"), nics), { pins: [], unknown: [] });
});

test("a card that Tools saw with a name's static address has that name, however many cards there are", () => {
  const [first, second, third] = nics;
  const seen = [first!, { ...second!, addresses: ["192.0.2.7/24", "2001:db8::7/64"] }, third!];
  const expected = { pins: [{ name: "ens192", mac: second!.mac }], unknown: [] };
  const files: [string, (text: string, file: string) => ReturnType<typeof readKeyfile>][] = [
    ["auto ens192\niface ens192 inet static\n  address 192.0.2.7/24\n", readIfupdown],
    ["iface ens192 inet6 static\n\taddress 2001:db8::7\n", readIfupdown],
    ["network: {ethernets: {ens192: {addresses: [192.0.2.7/24]}}}", readNetplan],
    ["network: {ethernets: {ens192: {addresses: [{192.0.2.7/24: {label: a}}]}}}", readNetplan],
    ["interface-name=ens192\n[ipv4]\naddress1=192.0.2.7/24,192.0.2.1\n", readKeyfile],
    ['DEVICE=ens192\nIPADDR="192.0.2.7"\n', readIfcfg],
    ["[Match]\nName=ens192\n\n[Network]\nAddress=192.0.2.7/24\n", readNetworkd],
  ];
  for (const [text, read] of files) assert.deepEqual(pinNames(read(text, "f"), seen), expected);
  const another = "iface ens192 inet static\n address 192.0.2.8\niface ens224 inet dhcp\n";
  assert.deepEqual(pinNames(readIfupdown(another, "f"), seen), {
    pins: [],
    unknown: ["ens192", "ens224"],
  });
  const twice = [{ ...first!, addresses: ["192.0.2.7"] }, ...seen.slice(1)];
  const [name] = readIfupdown(files[0]![0], "f");
  assert.deepEqual(pinNames([name!], twice).unknown, ["ens192"]);
});

test("a link file holds for the card alone, not for what has its MAC besides", () => {
  const text = linkFile({ name: "ens192", mac: "00:50:56:00:00:01" });
  assert.match(text, /^\[Match\]\nMACAddress=00:50:56:00:00:01\nPath=\*pci-\*$/m);
  assert.match(text, /^\[Link\]\nName=ens192$/m);
});

test("names of cards are read from what each distribution configures its network with", () => {
  const ifupdown = "auto lo ens192\niface lo inet loopback\niface ens192 inet static\n";
  assert.deepEqual(
    readIfupdown(ifupdown, "f").map(({ name }) => name),
    ["lo", "ens192"],
  );
  const netplan = `network:
  version: 2
  ethernets:
    ens160: {dhcp4: true}
    lan:
      match: {macaddress: "00:50:56:00:00:02"}
      set-name: ens192
    ens224:
      match: {macaddress: "00:50:56:00:00:03"}
`;
  assert.deepEqual(readNetplan(netplan, "f"), [
    { name: "ens160", file: "f" },
    { name: "ens224", mac: "00:50:56:00:00:03", file: "f" },
  ]);
  assert.deepEqual(readNetplan("network: [", "f"), []);
  const keyfile =
    "[connection]\nid=x\ninterface-name=ens192\n[ethernet]\nmac-address=00:50:56:00:00:01\n";
  assert.deepEqual(readKeyfile(keyfile, "f"), [
    { name: "ens192", mac: "00:50:56:00:00:01", file: "f" },
  ]);
  assert.deepEqual(
    readIfcfg('TYPE=Ethernet\nDEVICE="ens192"\nHWADDR=00:50:56:00:00:01\n', "ifcfg-x"),
    [{ name: "ens192", mac: "00:50:56:00:00:01", file: "ifcfg-x" }],
  );
  assert.deepEqual(readIfcfg("BOOTPROTO=dhcp\n", "/etc/sysconfig/network/ifcfg-ens192"), [
    { name: "ens192", file: "/etc/sysconfig/network/ifcfg-ens192" },
  ]);
  const networkd = "[Match]\nName=ens192\n\n[Network]\nAddress=192.0.2.1/24\nName=no\n";
  assert.deepEqual(readNetworkd(networkd, "f"), [
    { name: "ens192", file: "f", addresses: ["192.0.2.1"] },
  ]);
});

test("names that a rule or a link of the guest's own gives are known", () => {
  const rule =
    'SUBSYSTEM=="net", ATTR{address}=="00:50:56:00:00:01", NAME="lan0"\n# ATTR{address}=="x", NAME="no"\n';
  assert.deepEqual(namesByRule(rule, "f"), [{ name: "lan0", mac: "00:50:56:00:00:01", file: "f" }]);
  const link = "[Match]\nMACAddress=x\n[Link]\nName=lan1\n";
  assert.deepEqual(namesByLink(link, "f"), [{ name: "lan1", mac: "x", file: "f" }]);
  assert.deepEqual(namesByLink("[Match]\nOriginalName=*\n[Link]\nName=lan1\n", "f"), []);
});
