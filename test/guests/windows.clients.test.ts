// Phony Windows guests of people rather than servers.

import { testReleases } from "./windows/releases.ts";

testReleases([
  { release: "windows-10", drivers: "w10", machine: "pc" },
  { release: "windows-11", drivers: "w11", machine: "pc", refused: "uefi" },
]);
