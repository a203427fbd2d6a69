/** What a conversion and a boot need, and the packages that bring it: Debian and Ubuntu, then Enterprise Linux. */
const packages: Readonly<Record<string, readonly [debian: string, el: string]>> = {
  "virt-v2v-in-place": ["virt-v2v", "virt-v2v"],
  guestfish: ["libguestfs-tools", "libguestfs"],
  "appliance kernel": ["linux-image-amd64", "kernel-core"],
  "qemu-img": ["qemu-utils", "qemu-img"],
  "qemu-nbd": ["qemu-utils", "qemu-img"],
  "qemu-system-x86_64": ["qemu-system-x86", "qemu-kvm"],
  nbdkit: ["nbdkit", "nbdkit-basic-plugins"],
  OVMF: ["ovmf", "edk2-ovmf"],
  rhsrvany: ["rhsrvany", "virt-v2v"],
};

/** "virt-v2v (apt-get install virt-v2v; on Enterprise Linux dnf install virt-v2v)" */
export function packageOf(tool: string): string {
  const [debian, el] = packages[tool] ?? [tool, tool];
  return `${tool} (apt-get install ${debian}; on Enterprise Linux dnf install ${el})`;
}
