// Phony Windows servers of the older releases.

import { testReleases } from "./windows/releases.ts";

testReleases([
  { release: "server-2016", drivers: "2k16", machine: "pc" },
  { release: "server-2019", drivers: "2k19", machine: "pc", refused: "bios" },
]);
