/** The devices of a machine's board. */

import { type VimObject, vimObject } from "./vim-values.ts";

function description(label: string, summary: string): VimObject {
  return vimObject("Description", { label, summary });
}

/** What every machine has, of no use to a migration; most of what a list of devices weighs. */
export const boardDevices: readonly VimObject[] = [
  vimObject("VirtualPS2Controller", {
    key: 300,
    deviceInfo: description("PS2 controller 0", "PS2 controller 0"),
    busNumber: 0,
    device: [600, 700],
  }),
  vimObject("VirtualPCIController", {
    key: 100,
    deviceInfo: description("PCI controller 0", "PCI controller 0"),
    busNumber: 0,
    device: [500, 12_000, 1000, 4000],
  }),
  vimObject("VirtualSIOController", {
    key: 400,
    deviceInfo: description("SIO controller 0", "SIO controller 0"),
    busNumber: 0,
  }),
  vimObject("VirtualKeyboard", {
    key: 600,
    deviceInfo: description("Keyboard", "Keyboard"),
    controllerKey: 300,
    unitNumber: 0,
  }),
  vimObject("VirtualPointingDevice", {
    key: 700,
    deviceInfo: description("Pointing device", "Pointing device; Device"),
    backing: vimObject("VirtualPointingDeviceDeviceBackingInfo", {
      deviceName: "",
      useAutoDetect: false,
      hostPointingDevice: "autodetect",
    }),
    controllerKey: 300,
    unitNumber: 1,
  }),
  vimObject("VirtualMachineVideoCard", {
    key: 500,
    deviceInfo: description("Video card", "Video card"),
    controllerKey: 100,
    unitNumber: 0,
    videoRamSizeInKB: 4096,
    numDisplays: 1,
    useAutoDetect: false,
    enable3DSupport: false,
    use3dRenderer: "automatic",
    graphicsMemorySizeInKB: 262_144,
  }),
  vimObject("VirtualMachineVMCIDevice", {
    key: 12_000,
    deviceInfo: description("VMCI device", "Virtual machine communication interface"),
    controllerKey: 100,
    unitNumber: 17,
    id: -1,
    allowUnrestrictedCommunication: false,
    filterEnable: true,
  }),
  vimObject("VirtualCdrom", {
    key: 3000,
    deviceInfo: description("CD/DVD drive 1", "Remote device"),
    backing: vimObject("VirtualCdromRemotePassthroughBackingInfo", {
      deviceName: "",
      useAutoDetect: false,
      exclusive: false,
    }),
    connectable: vimObject("VirtualDeviceConnectInfo", {
      startConnected: false,
      allowGuestControl: true,
      connected: false,
      status: "untried",
    }),
    controllerKey: 200,
    unitNumber: 0,
  }),
];
