/** Live progress of several VMs on one terminal: a line for each VM at work, and one for all. */
import type { Logger } from "pino";
import type { ListContext } from "../migration/list/list.ts";
import type { ProgressForm } from "../option-types.ts";
import {
  type DiskProgress,
  type ProgressSnapshot,
  percentBeforeEnd,
} from "../progress/progress.ts";
import { counted } from "../text.ts";
import type { LogView, ProgressView } from "./log-view.ts";
import { reported } from "./report.ts";

type VmState = "running" | "completed" | "failed";

interface VmEntry {
  snapshot: () => ProgressSnapshot;
  state: VmState;
}

export class ListProgress {
  readonly #view: LogView;
  readonly #vmCount: number;
  readonly #signal: AbortSignal;
  readonly #vms = new Map<string, VmEntry>();
  readonly #startedMs = performance.now();
  #percentShown = 0;
  #following = false;

  constructor(view: LogView, vmCount: number, signal: AbortSignal) {
    this.#signal = signal;
    this.#view = view;
    this.#vmCount = vmCount;
  }

  /** One VM's cycle under a reporter of its own. */
  readonly report: ListContext["report"] = async ({ name, config }, logger, cycle, tell) => {
    try {
      const context = { config, logger, signal: this.#signal, view: this.#viewOf(name) };
      const summary = await reported(context, cycle, ({ ending }) => tell(ending));
      this.#end(name, "completed");
      return summary;
    } catch (error) {
      this.#end(name, "failed");
      throw error;
    }
  };

  /** Where it shows itself: here on a terminal, in log lines of its own elsewhere. */
  #viewOf(name: string): ProgressView {
    let other: ReturnType<LogView["notLive"]> | undefined;
    return {
      follow: (snapshot: () => ProgressSnapshot, logger: Logger, form: ProgressForm) => {
        if (form.kind === "auto" && this.#view.isLive) {
          this.#vms.set(name, { snapshot, state: "running" });
          this.#follow(logger);
        } else {
          other = this.#view.notLive(logger, name);
          other.start(snapshot);
        }
      },
      stageChanged: () => other?.stageChanged(),
      stop: () => other?.stop(),
    };
  }

  /** The run of a VM is over. Its last state is kept, not the run. */
  #end(name: string, state: Exclude<VmState, "running">): void {
    const vm = this.#vms.get(name);
    if (vm === undefined) return;
    const last = vm.snapshot();
    this.#vms.set(name, { snapshot: () => last, state });
  }

  #follow(logger: Logger): void {
    if (this.#following) return;
    this.#following = true;
    this.#view.follow(() => this.snapshot(), logger, { kind: "auto" });
  }

  /** A VM stands where one run has its disks. */
  snapshot(): ProgressSnapshot {
    const vms = [...this.#vms].map(([name, vm]) => ({ name, vm, last: vm.snapshot() }));
    const rows = vms.map(({ name, vm, last }) => vmRow(name, vm.state, last));
    const over = vms.filter(({ vm }) => vm.state !== "running").length;
    const failed = vms.filter(({ vm }) => vm.state === "failed").length;
    const all = over === this.#vmCount;
    const share = rows.reduce((sum, row) => sum + (row.finished ? 100 : row.percent), 0);
    const percent = Math.min(percentBeforeEnd, Math.floor((share / this.#vmCount) * 10) / 10);
    this.#percentShown = all ? 100 : Math.max(this.#percentShown, percent);
    const transferredBytes = sum(rows, (row) => row.transferredBytes);
    const totalBytes = sum(rows, (row) => row.totalBytes);
    return {
      stage: all ? "Complete" : "Transfer",
      detail: `${over} of ${counted(this.#vmCount, "VM")} over${failed > 0 ? `, ${failed} failed` : ""}`,
      stageSeconds: (performance.now() - this.#startedMs) / 1000,
      disks: rows,
      total: {
        transferredBytes,
        totalBytes,
        percent: this.#percentShown,
        throughputBps: sum(rows, (row) => row.throughputBps),
        // What the VMs that have not begun will take, nobody knows.
        etaSeconds: this.#vms.size < this.#vmCount ? undefined : longest(rows),
      },
      syncType: undefined,
    };
  }
}

function vmRow(name: string, state: VmState, last: ProgressSnapshot): DiskProgress {
  const detail = last.detail ?? last.disks.find((disk) => !disk.finished && disk.note)?.note;
  const doing = `${last.stage}${detail === undefined ? "" : `: ${detail}`}`;
  const running = state === "running";
  return {
    ...last.total,
    ...(running ? {} : { throughputBps: 0, etaSeconds: 0 }),
    diskId: name,
    syncType: last.syncType ?? "full",
    reason: undefined,
    doing: "copying",
    note: running ? doing : state === "failed" ? "failed" : undefined,
    finished: !running,
    stopped: false,
  };
}

function longest(rows: readonly DiskProgress[]): number | undefined {
  const left = rows.map((row) => row.etaSeconds);
  return left.every((seconds) => seconds !== undefined) ? Math.max(0, ...left) : undefined;
}

function sum(rows: readonly DiskProgress[], amount: (row: DiskProgress) => number): number {
  return rows.reduce((total, row) => total + amount(row), 0);
}
