/** A full copy to a server that speaks TLS itself: ours, through a pair of stunnels, nbdcopy, qemu-img. */
import { join } from "node:path";
import type { NbdServer } from "../lab/nbd-server.ts";
import { createVolume, startNbdServer, startQemuNbd, startStunnelPair } from "../lab/targets.ts";
import { makeNbdCertificates, type NbdCertificates } from "../lab/tls.ts";
import type { Cell } from "./cells.ts";
import {
  engineBefore,
  engineContender,
  nbdcopyContender,
  nbdcopyDefaults,
  qemuImgTlsContender,
} from "./contenders.ts";
import type { Disk } from "./disks.ts";
import type { CellResult } from "./results.ts";
import { exportName, startSource, targetOver } from "./servers.ts";
import { sweep } from "./sweep.ts";
import { meet, seconds, trialMs, type Work, type Workbench } from "./workbench.ts";

const MiB = 1024 * 1024;
const sweepShare = 0.3;

export async function measureTls(
  bench: Workbench,
  cell: Cell,
  disk: Disk,
  cellMs: number,
): Promise<CellResult> {
  const startedAt = Date.now();
  const { folder, tools } = bench;
  await using undo = new AsyncDisposableStack();
  const tls = await makeNbdCertificates(join(folder, "tls"));
  const file = join(folder, "volume-tls");
  const server = undo.use(await startTlsServer(cell, folder, file, disk.sizeBytes, tls));
  const uri = `nbds://localhost:${server.port}/${exportName}`;
  const target = undo.use(targetOver(cell.target, file, uri, server));
  const source = undo.use(await startSource({ ...cell, plugin: ["file", disk.path] }, folder));
  const work: Work = {
    ...{ target, before: { sizeBytes: disk.sizeBytes }, expectedPath: disk.path },
  };
  const job = {
    source: { uri: source.uri },
    target: { uri, tlsCertDir: tls.clientDir },
    capacityBytes: disk.sizeBytes,
  };
  const theirUri = `${uri}?tls-certificates=${tls.clientDir}`;
  const start = { ...nbdcopyDefaults, requestBytes: MiB, queueBytes: 64 * MiB };
  const { ranking } = await sweep({
    start,
    axes: [
      [{ connections: 2 }, { connections: 8, threads: 8 }],
      [
        { requestBytes: MiB / 4, queueBytes: 16 * MiB },
        { requestBytes: MiB / 2, queueBytes: 32 * MiB },
      ],
    ],
    measure: (settings) => trialMs(nbdcopyContender(tools, source.uri, theirUri, settings), work),
    deadline: startedAt + Math.min(cellMs * sweepShare, bench.scale.sweepMaximumMs),
  });
  const contenders = [
    engineContender("migratekit", job),
    ...engineBefore(bench, job),
    nbdcopyContender(tools, source.uri, theirUri, ranking[0]!.settings),
    qemuImgTlsContender(tools, source.uri, { port: server.port, exportName }, tls.clientDir),
  ];
  // qemu-nbd holds its file locked: nobody can serve it beside.
  if (cell.target === "nbd-server") {
    const plain = undo.use(
      await startNbdServer({
        exports: [{ name: exportName, file }],
        folder: join(folder, "plain"),
      }),
    );
    const pair = undo.use(await startStunnelPair({ targetPort: plain.port, folder }));
    const through = { ...job, target: { uri: pair.client.uriOf(exportName) } };
    contenders.push(engineContender("migratekit-stunnel", through));
  }
  const results = await meet(bench, contenders, work, startedAt + cellMs);
  bench.log(
    results.map(({ name, medianMs }) => `${name} ${seconds(medianMs)}`).join(", ") +
      ` in ${results[0]!.samples.length} rounds; all of it ${seconds(Date.now() - startedAt)}`,
  );
  const { name, shape, latencyMs, connections, connectionRate, target: kind } = cell;
  return {
    ...{ name, group: "tls", shape, latencyMs, connections, connectionRate, target: kind },
    ...{ payloadBytes: disk.allocatedBytes, extents: disk.dataRanges.length / 2 },
    ...{ contenders: results, swept: { nbdcopy: ranking.length } },
  };
}

async function startTlsServer(
  cell: Cell,
  folder: string,
  file: string,
  sizeBytes: number,
  tls: NbdCertificates,
): Promise<NbdServer> {
  await createVolume(file, sizeBytes);
  if (cell.target === "qemu-nbd") return await startQemuNbd({ file, exportName, tls });
  return await startNbdServer({ exports: [{ name: exportName, file }], folder, tls });
}
