// What makes a disk pass for Windows to those who inspect one: two hives, and a header of a program.

import type { Registry } from "./hive.ts";

/** What the registry of a release says of itself. */
export interface Release {
  readonly product: string;
  readonly build: number;
  readonly kind: "Server" | "Client";
}

/** Windows 11 calls itself 10 there: its build alone tells. */
export const releases = {
  "server-2016": { product: "Windows Server 2016 Standard", build: 14_393, kind: "Server" },
  "server-2019": { product: "Windows Server 2019 Standard", build: 17_763, kind: "Server" },
  "server-2022": { product: "Windows Server 2022 Standard", build: 20_348, kind: "Server" },
  "server-2025": { product: "Windows Server 2025 Standard", build: 26_100, kind: "Server" },
  "windows-10": { product: "Windows 10 Pro", build: 19_045, kind: "Client" },
  "windows-11": { product: "Windows 10 Pro", build: 22_631, kind: "Client" },
} as const satisfies Record<string, Release>;

export type ReleaseName = keyof typeof releases;

const text = (value: string) => `"${value}"`;
const dword = (value: number) => `dword:${value.toString(16).padStart(8, "0")}`;
/** REG_MULTI_SZ of one. */
const list = (value: string) =>
  `hex(7):${Buffer.from(`${value}\0\0`, "utf16le").toString("hex").match(/../g)!.join(",")}`;

export function softwareHive({ product, build, kind }: Release): Registry {
  const current = "Microsoft\\Windows\\CurrentVersion";
  return [
    ["Microsoft", {}],
    ["Microsoft\\Windows", {}],
    [current, { DevicePath: text("%SystemRoot%\\\\inf") }],
    [`${current}\\Policies`, {}],
    [`${current}\\Policies\\System`, {}],
    [`${current}\\RunOnce`, {}],
    ["Microsoft\\Windows NT", {}],
    [
      "Microsoft\\Windows NT\\CurrentVersion",
      {
        ProductName: text(product),
        InstallationType: text(kind),
        EditionID: text(kind === "Server" ? "ServerStandard" : "Professional"),
        CurrentVersion: text("6.3"),
        CurrentBuildNumber: text(String(build)),
        CurrentBuild: text(String(build)),
        CurrentMajorVersionNumber: dword(10),
        CurrentMinorVersionNumber: dword(0),
      },
    ],
  ];
}

/** With an address of its own on one card. */
export function systemHive(address: string): Registry {
  const interfaces = "ControlSet001\\Services\\Tcpip\\Parameters\\Interfaces";
  return [
    ["Select", { Current: dword(1), Default: dword(1) }],
    ["DriverDatabase", {}],
    ["DriverDatabase\\DeviceIds", {}],
    ["DriverDatabase\\DriverInfFiles", {}],
    ["DriverDatabase\\DriverPackages", {}],
    ["ControlSet001", {}],
    ["ControlSet001\\Control", {}],
    ["ControlSet001\\Control\\CrashControl", { AutoReboot: dword(1) }],
    ["ControlSet001\\Control\\CriticalDeviceDatabase", {}],
    ["ControlSet001\\Control\\Session Manager", {}],
    ["ControlSet001\\Services", {}],
    ["ControlSet001\\Services\\Tcpip", {}],
    ["ControlSet001\\Services\\Tcpip\\Parameters", { Hostname: text("phony") }],
    [interfaces, {}],
    [`${interfaces}\\{11111111-0000-0000-0000-000000000001}`, { EnableDHCP: dword(1) }],
    [
      `${interfaces}\\{11111111-0000-0000-0000-000000000002}`,
      {
        EnableDHCP: dword(0),
        IPAddress: list(address),
        SubnetMask: list("255.255.255.0"),
        DefaultGateway: list("192.0.2.1"),
        NameServer: text("192.0.2.53 192.0.2.54"),
      },
    ],
  ];
}

/** PE32+ for the console and x86-64: what tells the architecture. */
export function programHeader(): Buffer {
  const bytes = Buffer.alloc(1024);
  bytes.write("MZ", 0, "latin1");
  bytes.writeUInt32LE(0x80, 0x3c);
  bytes.write("PE\0\0", 0x80, "latin1");
  bytes.writeUInt16LE(0x8664, 0x84);
  bytes.writeUInt16LE(1, 0x86);
  bytes.writeUInt16LE(240, 0x94);
  bytes.writeUInt16LE(0x22, 0x96);
  bytes.writeUInt16LE(0x20b, 0x98);
  bytes.writeUInt16LE(3, 0x98 + 68);
  return bytes;
}
