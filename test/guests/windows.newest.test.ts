// The newest Windows of the phony ones, by the real virt-v2v; windows.older, .newer and .clients have the others.

import assert from "node:assert/strict";
import { test } from "node:test";
import { convertPhony, mac, objections } from "./windows/convert-phony.ts";

test("Windows Server 2025 with UEFI: its driver starts at boot, its address goes by MAC, it needs q35", async (t) => {
  const guest = { release: "server-2025", firmware: "uefi", state: "shut-down" } as const;
  const conversion = await convertPhony(t, guest, ["2k16", "2k25"], async (look) => {
    const said = await look([
      "cat /Windows/System32/drivers/viostor.sys",
      "-glob cat /Windows/Temp/*.ps1",
      "-glob cat '/Program Files/Guestfs/Firstboot/*.ps1'",
      "mount-ro /dev/sda1 /",
      "checksum sha256 /EFI/BOOT/BOOTX64.EFI",
      "checksum sha256 /EFI/Microsoft/Boot/bootmgfw.efi",
    ]);
    assert.match(said, /phony viostor 2k25 sys/);
    assert.match(said, /mac_address = '00-50-56-8a-20-01'/i);
    assert.match(
      said,
      /'192\.0\.2\.30' -DefaultGateway '192\.0\.2\.1' -PrefixLength 24[\s\S]*'192\.0\.2\.53','192\.0\.2\.54'/,
    );
    assert.match(said, /^([0-9a-f]{64})\n\1$/m, "the fallback is Windows's loader");
  });
  assert.equal(objections(conversion), "");
  assert.equal(conversion.verdict, "boots");
  assert.deepEqual(conversion.hardware, {
    ...{ controller: "virtio", firmware: "uefi", secureBoot: false, machine: "q35" },
    nics: [{ mac, model: "virtio" }],
  });
  assert.match(conversion.guest.product ?? "", /Windows Server 2025/);
});
