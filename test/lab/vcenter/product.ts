/** How a vCenter or ESXi of some version describes itself, but for what is its own. */

export function productOf(isHost: boolean, version: string) {
  const name = isHost ? "VMware ESXi" : "VMware vCenter Server";
  const build = "21958406";
  return {
    name,
    fullName: `${name} ${version} build-${build}`,
    vendor: "VMware, Inc.",
    version,
    build,
    localeVersion: "INTL",
    localeBuild: "000",
    osType: isHost ? "vmnix-x86" : "linux-x64",
    productLineId: isHost ? "embeddedEsx" : "vpx",
    licenseProductName: isHost ? "VMware ESX Server" : "VMware VirtualCenter Server",
    licenseProductVersion: version.split(".").slice(0, 2).join("."),
  };
}
