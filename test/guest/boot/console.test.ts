import assert from "node:assert/strict";
import { test } from "node:test";
import { ConsoleText, lastLines, readConsole } from "../../../src/guest/boot/console.ts";

const kernel =
  "[    0.000000] Linux version 6.1.0-56-cloud-amd64 (debian-kernel@lists.debian.org)\r\n";
const nothing = { kernel: false, up: undefined, deadEnd: undefined };

test("an empty console tells nothing", () => {
  assert.deepEqual(readConsole(""), nothing);
});

test("a kernel is seen by its first line, and by the time before each line", () => {
  assert.equal(readConsole(kernel).kernel, true);
  assert.equal(readConsole("[   12.345678] sda: sda1\r\n").kernel, true);
  assert.equal(readConsole("GNU GRUB  version 2.06\r\n").kernel, false);
});

for (const [title, text, up] of [
  ["a prompt for a login", "\r\nDebian GNU/Linux 12 web01 ttyS0\r\n\r\nweb01 login: ", "login"],
  [
    "systemd's word, in colour",
    "[\u001b[0;32m  OK  \u001b[0m] Reached target \u001b[0;1;39mmulti-user.target\u001b[0m - Multi-User System.\r\n",
    "service",
  ],
  ["an older systemd's word", "[  OK  ] Reached target Multi-User System.\r\n", "service"],
  [
    "a prompt behind which others write on",
    "\r\nweb01 login: [   71.2] cryptd: loaded\r\n",
    "login",
  ],
  ["another target", "[  OK  ] Reached target Local File Systems.\r\n", undefined],
  ["a last login that is only told of", "Last login: Mon Jan  1\r\n", undefined],
] as const) {
  test(`up: ${title}`, () => {
    assert.equal(readConsole(kernel + text).up, up);
  });
}

for (const [text, deadEnd] of [
  ["ALERT!  /dev/sda1 does not exist.  Dropping to a shell!\r\n\r\n(initramfs) ", /initramfs/],
  [
    "[    5.7] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\r\n",
    /panicked/,
  ],
  ["dracut:/# ", /dracut/],
  ["You are in emergency mode. After logging in, type\r\n", /emergency/],
  ["error: no such device: 6d6b.\r\nEntering rescue mode...\r\ngrub rescue> ", /GRUB/],
  [
    "error: no such device: 6d6b.\r\n\x1b[2J\x1b[02;34HGNU GRUB  version 2.06\r\n\r\n   Minimal BASH-like line editing is supported.\r\n\r\n\r\ngrub> ",
    /no menu/,
  ],
  ["UEFI Interactive Shell v2.2\r\nShell> ", /shell/],
  ["BdsDxe: No bootable option or device was found.\r\n", /nothing to boot/],
  [
    "Booting from Hard Disk...\r\nBoot failed: not a bootable disk\r\n\r\nNo bootable device.\r\n",
    /nothing to boot/,
  ],
] as const) {
  test(`dead end: ${text.trim().split("\r\n").at(-1)}`, () => {
    assert.match(readConsole(text).deadEnd ?? "", deadEnd);
  });
}

test("a start that failed does not count once the guest has started again", () => {
  const signs = readConsole(
    `${kernel}[ 1.0] Kernel panic - not syncing: x\r\n${kernel}web01 login: `,
  );
  assert.deepEqual(signs, { kernel: true, up: "login", deadEnd: undefined });
});

test("of a guest that prints without end, the end is kept", () => {
  const console = new ConsoleText();
  for (let line = 0; line < 20_000; line += 1) console.push(`${"x".repeat(100)}\n`);
  console.push("web01 login: ");
  assert.ok(console.text.length <= 512 * 1024);
  assert.equal(readConsole(console.text).up, "login");
});

test("the last lines are for people: without colours, returns and empty lines", () => {
  const text = "one\r\n\r\n\u001b[1mtwo\u001b[0m\r\n\u001b[2J\u0007three  \r\n";
  assert.deepEqual(lastLines(text, 2), ["two", "three"]);
});
