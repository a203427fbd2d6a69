import type { GuestHardware, Overlay } from "../machine.ts";

/**
 * The machine as libvirt describes one (libvirt.org/formatdomain.html), with its overlays as files: how
 * virt-v2v learns of all disks at once, of the real firmware and of the network cards' addresses.
 */
export function libvirtXml(hardware: GuestHardware, overlays: readonly Overlay[]): string {
  const { name, cpus, memoryMiB, nics } = hardware;
  return `<domain type='kvm'>
  <name>${escapeXml(name)}</name>
  <memory unit='MiB'>${memoryMiB}</memory>
  <vcpu>${cpus}</vcpu>
  ${osElement(hardware)}
  <devices>
${overlays.map(({ path }, index) => diskElement(path, index)).join("\n")}
${nics.map(({ mac }) => nicElement(mac)).join("\n")}
  </devices>
</domain>
`;
}

function osElement({ firmware, secureBoot }: GuestHardware): string {
  const type = "<type arch='x86_64'>hvm</type>";
  if (firmware === "bios") return `<os firmware='bios'>${type}</os>`;
  const enabled = secureBoot ? "yes" : "no";
  const feature = `<firmware><feature enabled='${enabled}' name='secure-boot'/></firmware>`;
  return `<os firmware='efi'>${type}${feature}</os>`;
}

/** Disks of VMware are SCSI to a guest, whatever the controller; an IDE one of today's kernels is sda too. */
function diskElement(path: string, index: number): string {
  return `    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='${escapeXml(path)}'/>
      <target dev='${diskName("sd", index)}' bus='scsi'/>
    </disk>`;
}

function nicElement(mac: string): string {
  return `    <interface type='network'>
      <mac address='${escapeXml(mac)}'/>
      <source network='default'/>
      <model type='vmxnet3'/>
    </interface>`;
}

/** sda … sdz, sdaa …, as Linux counts. */
export function diskName(prefix: string, index: number): string {
  let letters = "";
  for (let rest = index + 1; rest > 0; rest = Math.floor((rest - 1) / 26)) {
    letters = String.fromCharCode(97 + ((rest - 1) % 26)) + letters;
  }
  return prefix + letters;
}

/** Control characters are in no XML, however written. */
function escapeXml(text: string): string {
  return text
    .replace(/\p{Cc}/gu, "?")
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll("'", "&apos;")
    .replaceAll('"', "&quot;");
}
