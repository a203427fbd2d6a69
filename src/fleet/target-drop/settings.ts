/** What makes a target's machine let go of silent connections soon, for docs/fleet/workers.md, too. */

/** Of the kernel of the machine where TCP ends: an idle connection goes after 25 s, an answer after 12 to 26. */
export const kernelSettings =
  "net.ipv4.tcp_keepalive_time=10 net.ipv4.tcp_keepalive_intvl=5 net.ipv4.tcp_keepalive_probes=3 net.ipv4.tcp_retries2=5";

export interface DropSetting {
  /** What is set. */
  readonly of: "kernel" | "nbd-server" | "qemu-nbd";
  readonly text: string;
}

export const dropSettings: readonly DropSetting[] = [
  {
    of: "kernel",
    text: `sysctl -w ${kernelSettings}`,
  },
  {
    of: "nbd-server",
    text: "Nothing more: it asks for keepalive, and the kernel does the rest.",
  },
  {
    of: "qemu-nbd",
    text: "It asks for no keepalive, so an idle connection is kept for good whatever the kernel's settings are. Start it by a systemd socket with KeepAlive=yes, which connections inherit, or use nbd-server.",
  },
];
