/**
 * Runs the simulator in its own process, for tests that kill it: prints one JSON line when it is ready.
 * `serve.ts '{"labDir": "…", …}'` takes the options of `startVcenter`.
 */

import { startVcenter, type VcenterOptions } from "./vcenter.ts";

const options = JSON.parse(process.argv[2] ?? "{}") as VcenterOptions;
const lab = await startVcenter(options);
const { endpoint, controlUrl, username, password, thumbprintSha1, thumbprintSha256 } = lab;
console.log(
  JSON.stringify({
    ...{ endpoint, controlUrl, username, password, thumbprintSha1, thumbprintSha256 },
    pid: process.pid,
  }),
);
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => void lab.stop().then(() => process.exit(0)));
}
