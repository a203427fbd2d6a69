/**
 * Whether KVM runs a guest here. Its device proves nothing, nor does a machine that can be made: both are there on
 * hosts where the first guest hangs, or ends QEMU, or crawls (a KVM without the processor's own virtualisation was
 * seen to do half a million instructions a second). So a proof runs, long enough to tell a processor from an emulator.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { runProgram } from "../../run-program.ts";

export type Accelerator = "kvm" | "tcg";

/** As 32-bit code: a loop, then what ends the machine by its exit code. */
const loopTimes = 100_000_000;
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");
/** By their places from the ROM's start on, which lies at the end of the first 4 GiB. */
const proof: readonly (readonly [offset: number, code: Buffer])[] = [
  // cli; lgdt cs:[0xff60]; mov eax,cr0; or al,1; mov cr0,eax; jmp 8:0xffffff20
  [0xff00, hex("fa 662e0f011660ff 0f20c0 0c01 0f22c0 66ea20ffffff0800")],
  [0xff20, hex("b9 00000000")], // mov ecx,loopTimes
  // dec ecx; jnz; mov al,0x2a; mov dx,0xf4; out dx,al; hlt; jmp
  [0xff25, hex("49 75fd b02a 66baf400 ee f4 ebfd")],
  [0xff60, hex("0f00 70ffffff")], // the table's size and place
  [0xff70, hex("0000000000000000 ffff0000009bcf00")], // nothing, and code of 4 GiB
  [0xfff0, hex("e90dff")], // where a processor begins: jmp 0xff00
];
const romBytes = 64 * 1024;
/** What isa-debug-exit makes of 0x2a. */
const exitCodeOfProof = 0x2a * 2 + 1;
/** In software it takes less than a second, with KVM a tenth. */
const timeoutMs = 5_000;

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
  for (const [offset, code] of proof) rom.set(code, offset);
  rom.writeUInt32LE(loopTimes, 0xff21);
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
