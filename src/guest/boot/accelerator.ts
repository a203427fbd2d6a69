/**
 * Whether KVM runs a guest here. Its device proves nothing, nor does a machine that can be made: both are
 * there on hosts where the first guest hangs, or ends QEMU. So a few instructions are run to their end.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { runProgram } from "../../run-program.ts";

export type Accelerator = "kvm" | "tcg";

/** mov al,0x2a; mov dx,0xf4; out dx,al; hlt; jmp $-1, where a processor begins: 16 bytes before the end. */
const firstInstructions = [0xb0, 0x2a, 0xba, 0xf4, 0x00, 0xee, 0xf4, 0xeb, 0xfd];
const romBytes = 64 * 1024;
/** What isa-debug-exit makes of 0x2a. */
const exitCodeOfProof = 0x2a * 2 + 1;
const timeoutMs = 10_000;

export interface AcceleratorOptions {
  readonly folder: string;
  readonly env: Readonly<Record<string, string>>;
  readonly qemu: string;
  readonly signal: AbortSignal;
}

/** @throws the system's error when QEMU cannot be started, or the signal's reason */
export async function findAccelerator(options: AcceleratorOptions): Promise<Accelerator> {
  return (await runsInstructions("kvm", "host", options)) ? "kvm" : "tcg";
}

/** For `findAccelerator`, and to see that the proof is one. */
export async function runsInstructions(
  accelerator: Accelerator,
  cpu: string,
  { folder, env, qemu, signal }: AcceleratorOptions,
): Promise<boolean> {
  const rom = Buffer.alloc(romBytes);
  rom.set(firstInstructions, romBytes - 16);
  const path = join(folder, "proof.rom");
  await writeFile(path, rom);
  const args = [
    ...["-nodefaults", "-no-user-config", "-display", "none", "-m", "16"],
    ...["-machine", `pc,accel=${accelerator}`, "-cpu", cpu, "-bios", path],
    ...["-device", "isa-debug-exit,iobase=0xf4,iosize=1"],
  ];
  const { exitCode } = await runProgram(qemu, args, { env, timeoutMs, signal });
  return exitCode === exitCodeOfProof;
}
