// Phony Windows servers of the newer releases; one of the newest alone: windows.newest.test.ts.

import { testReleases } from "./windows/releases.ts";

testReleases([
  { release: "server-2022", drivers: "2k22", machine: "pc", refused: "uefi" },
  { release: "server-2025", drivers: "2k25", machine: "q35", refused: "bios" },
]);
