import assert from "node:assert/strict";
import { test } from "node:test";
import { defaultEntry, readEnvironment } from "../../../src/guest/inspect/grub-menu.ts";
import {
  defaultLoaderEntry,
  optionsOf,
  readLoaderEntry,
} from "../../../src/guest/inspect/loader-entries.ts";

/** As grub-mkconfig writes it: a plain entry, then a submenu with one for each kernel. */
const menu = (head: string) => `if [ -s $prefix/grubenv ]; then
  load_env
fi
if [ "\${next_entry}" ] ; then
   set default="\${next_entry}"
   set next_entry=
else
   set default="${head}"
fi
function gfxmode {
\tset gfxpayload="\${1}"
}
menuentry 'Linux' --class os $menuentry_id_option 'simple' {
\tif [ x$grub_platform = xxen ]; then insmod xzio; fi
\tsearch --no-floppy --fs-uuid --set=root 1111
\tlinux\t/vmlinuz-6.1 root=UUID=1111 ro quiet
\tinitrd\t/intel-ucode.img /initrd-6.1
}
submenu 'Advanced options' $menuentry_id_option 'advanced' {
\tmenuentry 'Linux 6.1' $menuentry_id_option 'adv-6.1' {
\t\tlinux\t/vmlinuz-6.1 root=UUID=1111 single
\t\tinitrd\t/initrd-6.1
\t}
\tmenuentry 'Linux 5.10' $menuentry_id_option 'adv-5.10' {
\t\tlinux\t($root)/vmlinuz-5.10 root=/dev/sda1
\t\tinitrd\t($root)/initrd-5.10
\t}
}
menuentry "UEFI settings" --id firmware {
\tfwsetup
}
`;

const savedEntry = ["$", "{saved_entry}"].join("");
const kernelOf = (head: string, environment = "") =>
  defaultEntry(menu(head), readEnvironment(environment))?.kernel;

test("the first entry boots where nothing else is said", () => {
  const entry = defaultEntry(menu("0"), new Map());
  assert.equal(entry?.kernel, "/vmlinuz-6.1");
  assert.equal(entry?.options, "root=UUID=1111 ro quiet");
  assert.deepEqual(entry?.initrds, ["/intel-ucode.img", "/initrd-6.1"]);
});

test("an entry is found by its number, its title and its id, in a submenu too", () => {
  assert.equal(kernelOf("1>1"), "/vmlinuz-5.10");
  assert.equal(kernelOf("advanced>adv-5.10"), "/vmlinuz-5.10");
  assert.equal(kernelOf("Advanced options>Linux 5.10"), "/vmlinuz-5.10");
  assert.equal(kernelOf("1"), "/vmlinuz-6.1", "a submenu stands for its first");
  assert.equal(kernelOf("no such thing"), "/vmlinuz-6.1");
});

test("what is saved in grubenv counts where the menu says so, and what is set for once before all", () => {
  const saved = "# GRUB Environment Block\nsaved_entry=advanced>adv-5.10\n####";
  assert.equal(kernelOf(savedEntry, saved), "/vmlinuz-5.10");
  assert.equal(kernelOf("0", saved), "/vmlinuz-6.1");
  assert.equal(kernelOf(savedEntry, ""), "/vmlinuz-6.1");
  assert.equal(kernelOf("0", "next_entry=advanced>adv-5.10\n"), "/vmlinuz-5.10");
});

test("a menu without an entry that starts a kernel has no default", () => {
  assert.equal(defaultEntry("set default=0\nmenuentry 'x' {\n fwsetup\n}\n", new Map()), undefined);
});

test("entries of the Boot Loader Specification: the saved one, else the newest that is no rescue", () => {
  const entry = (id: string, version: string) =>
    readLoaderEntry(
      id,
      `title Rocky (${version})\nversion ${version}\nlinux /vmlinuz-${version}\ninitrd /initramfs-${version}.img $tuned_initrd\noptions root=UUID=22 $kernelopts\n`,
    );
  const entries = [
    entry("m-0-rescue", "0-rescue-m"),
    entry("m-5.14.0-70", "5.14.0-70.el9"),
    entry("m-5.14.0-427", "5.14.0-427.el9"),
  ];
  const none = new Map<string, string>();
  assert.equal(defaultLoaderEntry(entries, none)?.kernel, "/vmlinuz-5.14.0-427.el9");
  assert.deepEqual(entries[1]?.initrds, ["/initramfs-5.14.0-70.el9.img"]);
  const saved = new Map([["saved_entry", "m-5.14.0-70"]]);
  assert.equal(defaultLoaderEntry(entries, saved)?.kernel, "/vmlinuz-5.14.0-70.el9");
  const options = optionsOf(entries[1]!, new Map([["kernelopts", "ro quiet"]]));
  assert.equal(options, "root=UUID=22 ro quiet");
  assert.equal(defaultLoaderEntry([], none), undefined);
});
