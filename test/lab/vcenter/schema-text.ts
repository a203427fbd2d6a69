/**
 * The part of the vim25 schema that the simulator speaks, as text: one type, its base type and its fields in the
 * order of VMware's WSDL ("vSphere Web Services API", which govmomi's vim25/types and vim25/mo mirror).
 * `name type`; `[]` marks an array, `?` an optional field. A type that is named but not defined here is
 * either an enumeration (its values are strings) or never set. Lines that begin with a space continue the one above.
 */

/** Data objects and faults. */
export const dataTypesText = `
AboutInfo: name string, fullName string, vendor string, version string, build string,
  localeVersion string?, localeBuild string?, osType string, productLineId string, apiType string,
  apiVersion string, instanceUuid string?, licenseProductName string?, licenseProductVersion
  string?
ServiceContent: rootFolder moref, propertyCollector moref, viewManager moref?, about AboutInfo,
  setting moref?, userDirectory moref?, sessionManager moref?, authorizationManager moref?,
  serviceManager moref?, perfManager moref?, scheduledTaskManager moref?, alarmManager moref?,
  eventManager moref?, taskManager moref?, extensionManager moref?, customizationSpecManager
  moref?, guestCustomizationManager moref?, customFieldsManager moref?, accountManager moref?,
  diagnosticManager moref?, licenseManager moref?, searchIndex moref?, fileManager moref?,
  datastoreNamespaceManager moref?, virtualDiskManager moref?, virtualizationManager moref?,
  snmpSystem moref?, vmProvisioningChecker moref?, vmCompatibilityChecker moref?, ovfManager
  moref?, ipPoolManager moref?, dvSwitchManager moref?, hostProfileManager moref?,
  clusterProfileManager moref?, complianceManager moref?, localizationManager moref?,
  storageResourceManager moref?, guestOperationsManager moref?, overheadMemoryManager moref?,
  certificateManager moref?, ioFilterManager moref?, vStorageObjectManager moref?, hostSpecManager
  moref?, cryptoManager moref?, healthUpdateManager moref?, failoverClusterConfigurator moref?,
  failoverClusterManager moref?, tenantManager moref?, siteInfoManager moref?, storageQueryManager
  moref?
UserSession: key string, userName string, fullName string, loginTime dateTime, lastActiveTime
  dateTime, locale string, messageLocale string, extensionSession boolean?, ipAddress string?,
  userAgent string?, callCount long?
Description: label string, summary string
LocalizedMethodFault: fault MethodFault, localizedMessage string?
LocalizableMessage: key string, arg KeyAnyValue[]?, message string?
KeyAnyValue: key string, value anyType
SelectionSpec: name string?
TraversalSpec < SelectionSpec: type string, path string, skip boolean?, selectSet SelectionSpec[]?
PropertySpec: type string, all boolean?, pathSet string[]?
ObjectSpec: obj moref, skip boolean?, selectSet SelectionSpec[]?
PropertyFilterSpec: propSet PropertySpec[], objectSet ObjectSpec[], reportMissingObjectsInResults
  boolean?
RetrieveOptions: maxObjects int?
RetrieveResult: token string?, objects ObjectContent[]
ObjectContent: obj moref, propSet DynamicProperty[]?, missingSet MissingProperty[]?
DynamicProperty: name string, val anyType
MissingProperty: path string, fault LocalizedMethodFault
WaitOptions: maxWaitSeconds int?, maxObjectUpdates int?
UpdateSet: version string, filterSet PropertyFilterUpdate[]?, truncated boolean?
PropertyFilterUpdate: filter moref, objectSet ObjectUpdate[]?, missingSet MissingObject[]?
ObjectUpdate: kind ObjectUpdateKind, obj moref, changeSet PropertyChange[]?, missingSet
  MissingProperty[]?
PropertyChange: name string, op PropertyChangeOp, val anyType?
MissingObject: obj moref, fault LocalizedMethodFault
TaskReason
TaskReasonUser < TaskReason: userName string
TaskInfo: key string, task moref, description LocalizableMessage?, name string?, descriptionId
  string, entity moref?, entityName string?, locked moref[]?, state TaskInfoState, cancelled
  boolean, cancelable boolean, error LocalizedMethodFault?, result anyType?, progress int?, reason
  TaskReason, queueTime dateTime, startTime dateTime?, completeTime dateTime?, eventChainId int,
  changeTag string?, parentTaskKey string?, rootTaskKey string?, activationId string?
EntityPrivilege: entity moref, privAvailability PrivilegeAvailability[]
PrivilegeAvailability: privId string, isGranted boolean
UserPrivilegeResult: entity moref, privileges string[]?
DiskChangeInfo: startOffset long, length long, changedArea DiskChangeExtent[]?
DiskChangeExtent: start long, length long
VirtualMachineFileInfo: vmPathName string?, snapshotDirectory string?, suspendDirectory string?,
  logDirectory string?, ftMetadataDirectory string?
ToolsConfigInfo: toolsVersion int?, toolsInstallType string?, afterPowerOn boolean?, afterResume
  boolean?, beforeGuestStandby boolean?, beforeGuestShutdown boolean?, beforeGuestReboot boolean?,
  toolsUpgradePolicy string?, pendingCustomization string?, customizationKeyId CryptoKeyId?,
  syncTimeWithHostAllowed boolean?, syncTimeWithHost boolean?, lastInstallInfo
  ToolsConfigInfoToolsLastInstallInfo?
VirtualMachineFlagInfo: disableAcceleration boolean?, enableLogging boolean?, useToe boolean?,
  runWithDebugInfo boolean?, monitorType string?, htSharing string?, snapshotDisabled boolean?,
  snapshotLocked boolean?, diskUuidEnabled boolean?, virtualMmuUsage string?, virtualExecUsage
  string?, snapshotPowerOffBehavior string?, recordReplayEnabled boolean?, faultToleranceType
  string?, cbrcCacheEnabled boolean?, vvtdEnabled boolean?, vbsEnabled boolean?
VirtualMachineConfigInfo: changeVersion string, modified dateTime, name string, guestFullName
  string, version string, uuid string, createDate dateTime?, instanceUuid string?,
  npivNodeWorldWideName long[]?, npivPortWorldWideName long[]?, npivWorldWideNameType string?,
  npivDesiredNodeWwns short?, npivDesiredPortWwns short?, npivTemporaryDisabled boolean?,
  npivOnNonRdmDisks boolean?, locationId string?, template boolean, guestId string,
  alternateGuestName string, annotation string?, files VirtualMachineFileInfo, tools
  ToolsConfigInfo?, flags VirtualMachineFlagInfo, consolePreferences
  VirtualMachineConsolePreferences?, defaultPowerOps VirtualMachineDefaultPowerOpInfo, hardware
  VirtualHardware, vcpuConfig VirtualMachineVcpuConfig[]?, cpuAllocation ResourceAllocationInfo?,
  memoryAllocation ResourceAllocationInfo?, latencySensitivity LatencySensitivity?,
  memoryHotAddEnabled boolean?, cpuHotAddEnabled boolean?, cpuHotRemoveEnabled boolean?,
  hotPlugMemoryLimit long?, hotPlugMemoryIncrementSize long?, cpuAffinity
  VirtualMachineAffinityInfo?, memoryAffinity VirtualMachineAffinityInfo?, networkShaper
  VirtualMachineNetworkShaperInfo?, extraConfig OptionValue[]?, cpuFeatureMask HostCpuIdInfo[]?,
  datastoreUrl VirtualMachineConfigInfoDatastoreUrlPair[]?, swapPlacement string?, bootOptions
  VirtualMachineBootOptions?, ftInfo FaultToleranceConfigInfo?, repConfig ReplicationConfigSpec?,
  vAppConfig VmConfigInfo?, vAssertsEnabled boolean?, changeTrackingEnabled boolean?, firmware
  string?, maxMksConnections int?, guestAutoLockEnabled boolean?, managedBy ManagedByInfo?,
  memoryReservationLockedToMax boolean?, initialOverhead VirtualMachineConfigInfoOverheadInfo?,
  nestedHVEnabled boolean?, vPMCEnabled boolean?, scheduledHardwareUpgradeInfo
  ScheduledHardwareUpgradeInfo?, forkConfigInfo VirtualMachineForkConfigInfo?,
  vFlashCacheReservation long?, vmxConfigChecksum byte[]?, messageBusTunnelEnabled boolean?,
  vmStorageObjectId string?, swapStorageObjectId string?, keyId CryptoKeyId?, guestIntegrityInfo
  VirtualMachineGuestIntegrityInfo?, migrateEncryption string?, sgxInfo VirtualMachineSgxInfo?,
  contentLibItemInfo VirtualMachineContentLibraryItemInfo?, guestMonitoringModeInfo
  VirtualMachineGuestMonitoringModeInfo?, sevEnabled boolean?
VirtualMachineBootOptions: bootDelay long?, enterBIOSSetup boolean?, efiSecureBootEnabled boolean?,
  bootRetryEnabled boolean?, bootRetryDelay long?, bootOrder
  VirtualMachineBootOptionsBootableDevice[]?, networkBootProtocol string?
VirtualMachineBootOptionsBootableDevice
VirtualMachineBootOptionsBootableDiskDevice < VirtualMachineBootOptionsBootableDevice: deviceKey int
VirtualHardware: numCPU int, numCoresPerSocket int?, memoryMB int, virtualICH7MPresent boolean?,
  virtualSMCPresent boolean?, device VirtualDevice[]?
OptionValue: key string, value anyType
CryptoKeyId: keyId string, providerId KeyProviderId?
KeyProviderId: id string
VirtualDevice: key int, deviceInfo Description?, backing VirtualDeviceBackingInfo?, connectable
  VirtualDeviceConnectInfo?, slotInfo VirtualDeviceBusSlotInfo?, controllerKey int?, unitNumber
  int?
VirtualController < VirtualDevice: busNumber int, device int[]?
VirtualSCSIController < VirtualController: hotAddRemove boolean?, sharedBus VirtualSCSISharing,
  scsiCtlrUnitNumber int?
VirtualLsiLogicController < VirtualSCSIController
VirtualLsiLogicSASController < VirtualSCSIController
VirtualBusLogicController < VirtualSCSIController
ParaVirtualSCSIController < VirtualSCSIController
VirtualIDEController < VirtualController
VirtualPCIController < VirtualController
VirtualSATAController < VirtualController
VirtualAHCIController < VirtualSATAController
VirtualNVMEController < VirtualController: sharedBus string?
VirtualPS2Controller < VirtualController
VirtualSIOController < VirtualController
VirtualKeyboard < VirtualDevice
VirtualPointingDevice < VirtualDevice
VirtualMachineVideoCard < VirtualDevice: videoRamSizeInKB long?, numDisplays int?, useAutoDetect
  boolean?, enable3DSupport boolean?, use3dRenderer string?, graphicsMemorySizeInKB long?
VirtualMachineVMCIDevice < VirtualDevice: id long?, allowUnrestrictedCommunication boolean?,
  filterEnable boolean?, filterInfo VirtualMachineVMCIDeviceFilters?
VirtualEthernetCard < VirtualDevice: addressType string?, macAddress string?, wakeOnLanEnabled
  boolean?, resourceAllocation VirtualEthernetCardResourceAllocation?, externalId string?,
  uptCompatibilityEnabled boolean?
VirtualVmxnet < VirtualEthernetCard
VirtualVmxnet3 < VirtualVmxnet
VirtualCdrom < VirtualDevice
VirtualDisk < VirtualDevice: capacityInKB long, capacityInBytes long?, shares SharesInfo?,
  storageIOAllocation StorageIOAllocationInfo?, diskObjectId string?, vFlashCacheConfigInfo
  VirtualDiskVFlashCacheConfigInfo?, iofilter string[]?, vDiskId ID?, nativeUnmanagedLinkedClone
  boolean?
VirtualDeviceBackingInfo
VirtualDeviceFileBackingInfo < VirtualDeviceBackingInfo: fileName string, datastore moref?,
  backingObjectId string?
VirtualDeviceDeviceBackingInfo < VirtualDeviceBackingInfo: deviceName string, useAutoDetect
  boolean?
VirtualDeviceRemoteDeviceBackingInfo < VirtualDeviceBackingInfo: deviceName string, useAutoDetect
  boolean?
VirtualDiskFlatVer2BackingInfo < VirtualDeviceFileBackingInfo: diskMode string, split boolean?,
  writeThrough boolean?, thinProvisioned boolean?, eagerlyScrub boolean?, uuid string?, contentId
  string?, changeId string?, parent VirtualDiskFlatVer2BackingInfo?, deltaDiskFormat string?,
  digestEnabled boolean?, deltaGrainSize int?, deltaDiskFormatVariant string?, sharing string?,
  keyId CryptoKeyId?
VirtualDiskSparseVer2BackingInfo < VirtualDeviceFileBackingInfo: diskMode string, split boolean?,
  writeThrough boolean?, spaceUsedInKB long?, uuid string?, contentId string?, changeId string?,
  parent VirtualDiskSparseVer2BackingInfo?, keyId CryptoKeyId?
VirtualDiskSeSparseBackingInfo < VirtualDeviceFileBackingInfo: diskMode string, writeThrough
  boolean?, uuid string?, contentId string?, changeId string?, parent
  VirtualDiskSeSparseBackingInfo?, deltaDiskFormat string?, digestEnabled boolean?, grainSize
  int?, keyId CryptoKeyId?
VirtualDiskRawDiskMappingVer1BackingInfo < VirtualDeviceFileBackingInfo: lunUuid string?,
  deviceName string?, compatibilityMode string?, diskMode string?, uuid string?, contentId
  string?, changeId string?, parent VirtualDiskRawDiskMappingVer1BackingInfo?, deltaDiskFormat
  string?, deltaGrainSize int?, sharing string?
VirtualEthernetCardNetworkBackingInfo < VirtualDeviceDeviceBackingInfo: network moref?,
  inPassthroughMode boolean?
VirtualPointingDeviceDeviceBackingInfo < VirtualDeviceDeviceBackingInfo: hostPointingDevice string
VirtualCdromRemotePassthroughBackingInfo < VirtualDeviceRemoteDeviceBackingInfo: exclusive boolean
VirtualDeviceConnectInfo: migrateConnect string?, startConnected boolean, allowGuestControl
  boolean, connected boolean, status string?
VirtualMachineSnapshotInfo: currentSnapshot moref?, rootSnapshotList VirtualMachineSnapshotTree[]
VirtualMachineSnapshotTree: snapshot moref, vm moref, name string, description string, id int?,
  createTime dateTime, state VirtualMachinePowerState, quiesced boolean, backupManifest string?,
  childSnapshotList VirtualMachineSnapshotTree[]?, replaySupported boolean?
VirtualMachineRuntimeInfo: device VirtualMachineDeviceRuntimeInfo[]?, host moref?, connectionState
  VirtualMachineConnectionState, powerState VirtualMachinePowerState, faultToleranceState
  VirtualMachineFaultToleranceState?, dasVmProtection
  VirtualMachineRuntimeInfoDasProtectionState?, toolsInstallerMounted boolean, suspendTime
  dateTime?, bootTime dateTime?, suspendInterval long?, question VirtualMachineQuestionInfo?,
  memoryOverhead long?, maxCpuUsage int?, maxMemoryUsage int?, numMksConnections int,
  recordReplayState VirtualMachineRecordReplayState?, cleanPowerOff boolean?, needSecondaryReason
  string?, onlineStandby boolean?, minRequiredEVCModeKey string?, consolidationNeeded boolean?,
  offlineFeatureRequirement VirtualMachineFeatureRequirement[]?, featureRequirement
  VirtualMachineFeatureRequirement[]?, featureMask HostFeatureMask[]?, vFlashCacheAllocation
  long?, paused boolean?, snapshotInBackground boolean?, quiescedForkParent boolean?,
  instantCloneFrozen boolean?, cryptoState string?
VirtualMachineCapability: snapshotOperationsSupported boolean, multipleSnapshotsSupported boolean,
  snapshotConfigSupported boolean, poweredOffSnapshotsSupported boolean, memorySnapshotsSupported
  boolean, revertToSnapshotSupported boolean, quiescedSnapshotsSupported boolean,
  disableSnapshotsSupported boolean, lockSnapshotsSupported boolean, consolePreferencesSupported
  boolean, cpuFeatureMaskSupported boolean, s1AcpiManagementSupported boolean,
  settingScreenResolutionSupported boolean, toolsAutoUpdateSupported boolean, vmNpivWwnSupported
  boolean, npivWwnOnNonRdmVmSupported boolean, vmNpivWwnDisableSupported boolean?,
  vmNpivWwnUpdateSupported boolean?, swapPlacementSupported boolean, toolsSyncTimeSupported
  boolean, virtualMmuUsageSupported boolean, diskSharesSupported boolean, bootOptionsSupported
  boolean, bootRetryOptionsSupported boolean?, settingVideoRamSizeSupported boolean,
  settingDisplayTopologySupported boolean?, recordReplaySupported boolean?,
  changeTrackingSupported boolean?, multipleCoresPerSocketSupported boolean?,
  hostBasedReplicationSupported boolean?, guestAutoLockSupported boolean?,
  memoryReservationLockSupported boolean?, featureRequirementSupported boolean?,
  poweredOnMonitorTypeChangeSupported boolean?, seSparseDiskSupported boolean?, nestedHVSupported
  boolean?, vPMCSupported boolean?, secureBootSupported boolean?, perVmEvcSupported boolean?,
  virtualMmuUsageIgnored boolean?, virtualExecUsageIgnored boolean?,
  diskOnlySnapshotOnSuspendedVMSupported boolean?, toolsSyncTimeAllowSupported boolean?,
  sevSupported boolean?
GuestInfo: toolsStatus VirtualMachineToolsStatus?, toolsVersionStatus string?, toolsVersionStatus2
  string?, toolsRunningStatus string?, toolsVersion string?, toolsInstallType string?, guestId
  string?, guestFamily string?, guestFullName string?, hostName string?, ipAddress string?, net
  GuestNicInfo[]?, ipStack GuestStackInfo[]?, disk GuestDiskInfo[]?, screen GuestScreenInfo?,
  guestState string, appHeartbeatStatus string?, guestKernelCrashed boolean?, appState string?,
  guestOperationsReady boolean?, interactiveGuestOperationsReady boolean?,
  guestStateChangeSupported boolean?, generationInfo GuestInfoNamespaceGenerationInfo[]?,
  hwVersion string?
GuestNicInfo: network string?, ipAddress string[]?, macAddress string?, connected boolean,
  deviceConfigId int, dnsConfig NetDnsConfigInfo?, ipConfig NetIpConfigInfo?, netBIOSConfig
  NetBIOSConfigInfo?
NetIpConfigInfo: ipAddress NetIpConfigInfoIpAddress[]?, dhcp NetDhcpConfigInfo?,
  autoConfigurationEnabled boolean?
NetIpConfigInfoIpAddress: ipAddress string, prefixLength int, origin string?, state string?,
  lifetime dateTime?
VirtualMachineSummary: vm moref?, runtime VirtualMachineRuntimeInfo, guest
  VirtualMachineGuestSummary?, config VirtualMachineConfigSummary, storage
  VirtualMachineStorageSummary?, quickStats VirtualMachineQuickStats, overallStatus
  ManagedEntityStatus, customValue CustomFieldValue[]?
VirtualMachineConfigSummary: name string, template boolean, vmPathName string, memorySizeMB int?,
  cpuReservation int?, memoryReservation int?, numCpu int?, numEthernetCards int?, numVirtualDisks
  int?, uuid string?, instanceUuid string?, guestId string?, guestFullName string?, annotation
  string?, product VAppProductInfo?, installBootRequired boolean?, ftInfo
  FaultToleranceConfigInfo?, managedBy ManagedByInfo?, tpmPresent boolean?, numVmiopBackings int?,
  hwVersion string?
VirtualMachineGuestSummary: guestId string?, guestFullName string?, toolsStatus
  VirtualMachineToolsStatus?, toolsVersionStatus string?, toolsVersionStatus2 string?,
  toolsRunningStatus string?, hostName string?, ipAddress string?, hwVersion string?
VirtualMachineStorageSummary: committed long, uncommitted long, unshared long, timestamp dateTime
VirtualMachineQuickStats: overallCpuUsage int?, overallCpuDemand int?, overallCpuReadiness int?,
  guestMemoryUsage int?, hostMemoryUsage int?, guestHeartbeatStatus ManagedEntityStatus,
  distributedCpuEntitlement int?, distributedMemoryEntitlement int?, staticCpuEntitlement int?,
  staticMemoryEntitlement int?, grantedMemory int?, privateMemory int?, sharedMemory int?,
  swappedMemory int?, balloonedMemory int?, consumedOverheadMemory int?, ftLogBandwidth int?,
  ftSecondaryLatency int?, ftLatencyStatus ManagedEntityStatus?, compressedMemory long?,
  uptimeSeconds int?, ssdSwappedMemory long?
VirtualMachineConfigSpec: changeVersion string?, name string?, version string?, createDate
  dateTime?, uuid string?, instanceUuid string?, npivNodeWorldWideName long[]?,
  npivPortWorldWideName long[]?, npivWorldWideNameType string?, npivDesiredNodeWwns short?,
  npivDesiredPortWwns short?, npivTemporaryDisabled boolean?, npivOnNonRdmDisks boolean?,
  npivWorldWideNameOp string?, locationId string?, guestId string?, alternateGuestName string?,
  annotation string?, files VirtualMachineFileInfo?, tools ToolsConfigInfo?, flags
  VirtualMachineFlagInfo?, consolePreferences VirtualMachineConsolePreferences?, powerOpInfo
  VirtualMachineDefaultPowerOpInfo?, numCPUs int?, vcpuConfig VirtualMachineVcpuConfig[]?,
  numCoresPerSocket int?, memoryMB long?, memoryHotAddEnabled boolean?, cpuHotAddEnabled boolean?,
  cpuHotRemoveEnabled boolean?, virtualICH7MPresent boolean?, virtualSMCPresent boolean?,
  deviceChange VirtualDeviceConfigSpec[]?, cpuAllocation ResourceAllocationInfo?, memoryAllocation
  ResourceAllocationInfo?, latencySensitivity LatencySensitivity?, cpuAffinity
  VirtualMachineAffinityInfo?, memoryAffinity VirtualMachineAffinityInfo?, networkShaper
  VirtualMachineNetworkShaperInfo?, cpuFeatureMask VirtualMachineCpuIdInfoSpec[]?, extraConfig
  OptionValue[]?, swapPlacement string?, bootOptions VirtualMachineBootOptions?, vAppConfig
  VmConfigSpec?, ftInfo FaultToleranceConfigInfo?, repConfig ReplicationConfigSpec?,
  vAppConfigRemoved boolean?, vAssertsEnabled boolean?, changeTrackingEnabled boolean?, firmware
  string?, maxMksConnections int?, guestAutoLockEnabled boolean?, managedBy ManagedByInfo?,
  memoryReservationLockedToMax boolean?, nestedHVEnabled boolean?, vPMCEnabled boolean?,
  scheduledHardwareUpgradeInfo ScheduledHardwareUpgradeInfo?, vmProfile
  VirtualMachineProfileSpec[]?, messageBusTunnelEnabled boolean?, crypto CryptoSpec?,
  migrateEncryption string?, sgxInfo VirtualMachineSgxInfo?, guestMonitoringModeInfo
  VirtualMachineGuestMonitoringModeInfo?, sevEnabled boolean?
DatastoreSummary: datastore moref?, name string, url string, capacity long, freeSpace long,
  uncommitted long?, accessible boolean, multipleHostAccess boolean?, type string, maintenanceMode
  string?
DatastoreInfo: name string, url string, freeSpace long, maxFileSize long, maxVirtualDiskCapacity
  long?, maxMemoryFileSize long?, timestamp dateTime?, containerId string?, aliasOf string?
VmfsDatastoreInfo < DatastoreInfo: maxPhysicalRDMFileSize long?, maxVirtualRDMFileSize long?, vmfs
  HostVmfsVolume?
HostListSummary: host moref?, hardware HostHardwareSummary?, runtime HostRuntimeInfo?, config
  HostConfigSummary, quickStats HostListSummaryQuickStats, overallStatus ManagedEntityStatus,
  rebootRequired boolean, customValue CustomFieldValue[]?, managementServerIp string?,
  maxEVCModeKey string?, currentEVCModeKey string?, currentEVCGraphicsModeKey string?, gateway
  HostListSummaryGatewaySummary?, tpmAttestation HostTpmAttestationInfo?,
  trustAuthorityAttestationInfos HostTrustAuthorityAttestationInfo[]?
HostHardwareInfo: systemInfo HostSystemInfo, cpuPowerManagementInfo HostCpuPowerManagementInfo?,
  cpuInfo HostCpuInfo, memorySize long
HostSystemInfo: vendor string, model string, uuid string
HostCpuInfo: numCpuPackages short, numCpuCores short, numCpuThreads short, hz long
HostConfigSummary: name string, port int, sslThumbprint string?, product AboutInfo?,
  vmotionEnabled boolean, faultToleranceEnabled boolean?, featureVersion
  HostFeatureVersionInfo[]?, agentVmDatastore moref?, agentVmNetwork moref?
HostListSummaryQuickStats: overallCpuUsage int?, overallMemoryUsage int?, uptime int?
HostRuntimeInfo: connectionState HostSystemConnectionState, powerState HostSystemPowerState,
  standbyMode string?, inMaintenanceMode boolean, inQuarantineMode boolean?, bootTime dateTime?
LicenseManagerLicenseInfo: licenseKey string, editionKey string, name string, total int, used
  int?, costUnit string, properties KeyAnyValue[]?, labels KeyValue[]?
MethodFault: faultCause LocalizedMethodFault?, faultMessage LocalizableMessage[]?
RuntimeFault < MethodFault
VimFault < MethodFault
SecurityError < RuntimeFault
NoPermission < SecurityError: object moref, privilegeId string
NotAuthenticated < NoPermission
InvalidLogin < VimFault
InvalidProperty < MethodFault: name string
ManagedObjectNotFound < RuntimeFault: obj moref
InvalidArgument < RuntimeFault: invalidProperty string?
FileFault < VimFault: file string
FileNotFound < FileFault
InvalidState < VimFault
InvalidPowerState < InvalidState: requestedState VirtualMachinePowerState?, existingState
  VirtualMachinePowerState
ToolsUnavailable < VimFault
TaskInProgress < VimFault: task moref
ConcurrentAccess < VimFault
SnapshotFault < VimFault
ApplicationQuiesceFault < SnapshotFault
FilesystemQuiesceFault < SnapshotFault
SnapshotIncompatibleDeviceInVm < SnapshotFault: fault LocalizedMethodFault
RequestCanceled < RuntimeFault
InvalidRequest < RuntimeFault
InvalidType < InvalidRequest: argument string?
MethodNotFound < InvalidRequest: receiver moref, method string
NotSupported < RuntimeFault
SystemError < RuntimeFault: reason string
NotFound < VimFault
InvalidCollectorVersion < MethodFault
VmConfigFault < VimFault
GenericVmConfigFault < VmConfigFault: reason string
HostCommunication < RuntimeFault
HostNotConnected < HostCommunication
NoDiskSpace < FileFault: datastore string
InvalidVmConfig < VmConfigFault: property string?
VirtualHardwareCompatibilityIssue < VmConfigFault
VirtualHardwareVersionNotSupported < VirtualHardwareCompatibilityIssue: hostName string, host
  moref
`;

/** Managed objects and their properties. */
export const managedTypesText = `
ManagedEntity < ExtensibleManagedObject: parent moref?, customValue CustomFieldValue[]?,
  overallStatus ManagedEntityStatus?, configStatus ManagedEntityStatus?, configIssue Event[]?,
  effectiveRole int[]?, permission Permission[]?, name string?, disabledMethod string[]?,
  recentTask moref[]?, declaredAlarmState AlarmState[]?, triggeredAlarmState AlarmState[]?,
  alarmActionsEnabled boolean?, tag Tag[]?
ServiceInstance: serverClock dateTime?, capability Capability?, content ServiceContent?
Folder < ManagedEntity: childType string[]?, childEntity moref[]?, namespace string?
Datacenter < ManagedEntity: vmFolder moref?, hostFolder moref?, datastoreFolder moref?,
  networkFolder moref?, datastore moref[]?, network moref[]?, configuration DatacenterConfigInfo?
ComputeResource < ManagedEntity: resourcePool moref?, host moref[]?, datastore moref[]?, network
  moref[]?, summary ComputeResourceSummary?, environmentBrowser moref?, configurationEx
  ComputeResourceConfigInfo?, lifecycleManaged boolean?
ClusterComputeResource < ComputeResource: configuration ClusterConfigInfo?, recommendation
  ClusterRecommendation[]?, drsRecommendation ClusterDrsRecommendation[]?, hciConfig
  ClusterComputeResourceHCIConfigInfo?, migrationHistory ClusterDrsMigration[]?, actionHistory
  ClusterActionHistory[]?, drsFault ClusterDrsFaults[]?
HostSystem < ManagedEntity: runtime HostRuntimeInfo?, summary HostListSummary?, hardware
  HostHardwareInfo?, capability HostCapability?, licensableResource HostLicensableResourceInfo?,
  remediationState HostSystemRemediationState?, precheckRemediationResult
  ApplyHostProfileConfigurationSpec?, remediationResult ApplyHostProfileConfigurationResult?,
  complianceCheckState HostSystemComplianceCheckState?, complianceCheckResult ComplianceResult?,
  configManager HostConfigManager?, config HostConfigInfo?, vm moref[]?, datastore moref[]?,
  network moref[]?, datastoreBrowser moref?, systemResources HostSystemResourceInfo?,
  answerFileValidationState AnswerFileStatusResult?, answerFileValidationResult
  AnswerFileStatusResult?
ResourcePool < ManagedEntity: summary ResourcePoolSummary?, runtime ResourcePoolRuntimeInfo?,
  owner moref?, resourcePool moref[]?, vm moref[]?, config ResourceConfigSpec?, namespace string?,
  childConfiguration ResourceConfigSpec[]?
VirtualApp < ResourcePool: parentFolder moref?, datastore moref[]?, network moref[]?, vAppConfig
  VAppConfigInfo?, parentVApp moref?
Datastore < ManagedEntity: info DatastoreInfo?, summary DatastoreSummary?, host
  DatastoreHostMount[]?, vm moref[]?, browser moref?, capability DatastoreCapability?,
  iormConfiguration StorageIORMInfo?
Network < ManagedEntity: summary NetworkSummary?, host moref[]?, vm moref[]?, name string?
VirtualMachine < ManagedEntity: capability VirtualMachineCapability?, config
  VirtualMachineConfigInfo?, layout VirtualMachineFileLayout?, layoutEx
  VirtualMachineFileLayoutEx?, storage VirtualMachineStorageInfo?, environmentBrowser moref?,
  resourcePool moref?, parentVApp moref?, resourceConfig ResourceConfigSpec?, runtime
  VirtualMachineRuntimeInfo?, guest GuestInfo?, summary VirtualMachineSummary?, datastore
  moref[]?, network moref[]?, snapshot VirtualMachineSnapshotInfo?, rootSnapshot moref[]?,
  guestHeartbeatStatus ManagedEntityStatus?
VirtualMachineSnapshot < ExtensibleManagedObject: config VirtualMachineConfigInfo?, childSnapshot
  moref[]?, vm moref?
ExtensibleManagedObject: value CustomFieldValue[]?, availableField CustomFieldDef[]?
Task < ExtensibleManagedObject: info TaskInfo?
SessionManager: sessionList UserSession[]?, currentSession UserSession?, message string?,
  messageLocaleList string[]?, supportedLocaleList string[]?, defaultLocale string?
PropertyCollector: filter moref[]?
PropertyFilter: spec PropertyFilterSpec?, partialUpdates boolean?
ContainerView < ManagedObjectView: container moref?, type string[]?, recursive boolean?
ManagedObjectView: view moref[]?
ViewManager: viewList moref[]?
View
SearchIndex
AuthorizationManager: privilegeList AuthorizationPrivilege[]?, roleList AuthorizationRole[]?,
  description AuthorizationDescription?
LicenseManager: source LicenseSource?, sourceAvailable boolean?, diagnostics LicenseDiagnostics?,
  featureInfo LicenseFeatureInfo[]?, licensedEdition string?, licenses
  LicenseManagerLicenseInfo[]?, licenseAssignmentManager moref?, evaluation
  LicenseManagerEvaluationInfo?
TaskManager: recentTask moref[]?, description TaskDescription?, maxCollector int?
`;

/** Methods: parameters and, after the arrow, the type of the answer. */
export const methodsText = `
RetrieveServiceContent: _this moref -> ServiceContent
CurrentTime: _this moref -> dateTime
Login: _this moref, userName string, password string, locale string? -> UserSession
Logout: _this moref
SessionIsActive: _this moref, sessionID string, userName string -> boolean
SetLocale: _this moref, locale string
TerminateSession: _this moref, sessionId string[]
RetrieveProperties: _this moref, specSet PropertyFilterSpec[] -> ObjectContent[]
RetrievePropertiesEx: _this moref, specSet PropertyFilterSpec[], options RetrieveOptions ->
  RetrieveResult
ContinueRetrievePropertiesEx: _this moref, token string -> RetrieveResult
CancelRetrievePropertiesEx: _this moref, token string
CreatePropertyCollector: _this moref -> moref
DestroyPropertyCollector: _this moref
CreateFilter: _this moref, spec PropertyFilterSpec, partialUpdates boolean -> moref
DestroyPropertyFilter: _this moref
WaitForUpdatesEx: _this moref, version string?, options WaitOptions? -> UpdateSet
WaitForUpdates: _this moref, version string? -> UpdateSet
CheckForUpdates: _this moref, version string? -> UpdateSet
CancelWaitForUpdates: _this moref
CreateContainerView: _this moref, container moref, type string[]?, recursive boolean -> moref
DestroyView: _this moref
FindByInventoryPath: _this moref, inventoryPath string -> moref
FindByUuid: _this moref, datacenter moref?, uuid string, vmSearch boolean, instanceUuid boolean?
  -> moref
FindAllByUuid: _this moref, datacenter moref?, uuid string, vmSearch boolean, instanceUuid
  boolean? -> moref[]
FindChild: _this moref, entity moref, name string -> moref
FindByDatastorePath: _this moref, datacenter moref, path string -> moref
HasPrivilegeOnEntities: _this moref, entity moref[], sessionId string, privId string[]? ->
  EntityPrivilege[]
HasPrivilegeOnEntity: _this moref, entity moref, sessionId string, privId string[]? -> boolean[]
HasUserPrivilegeOnEntities: _this moref, entities moref[], userName string, privId string[]? ->
  EntityPrivilege[]
FetchUserPrivilegeOnEntities: _this moref, entities moref[], userName string ->
  UserPrivilegeResult[]
ReconfigVM_Task: _this moref, spec VirtualMachineConfigSpec -> moref
CreateSnapshot_Task: _this moref, name string, description string?, memory boolean, quiesce
  boolean -> moref
RemoveSnapshot_Task: _this moref, removeChildren boolean, consolidate boolean? -> moref
RemoveAllSnapshots_Task: _this moref, consolidate boolean? -> moref
RevertToSnapshot_Task: _this moref, host moref?, suppressPowerOn boolean? -> moref
QueryChangedDiskAreas: _this moref, snapshot moref?, deviceKey int, startOffset long, changeId
  string -> DiskChangeInfo
ConsolidateVMDisks_Task: _this moref -> moref
ShutdownGuest: _this moref
PowerOffVM_Task: _this moref -> moref
PowerOnVM_Task: _this moref, host moref? -> moref
CancelTask: _this moref
RetrieveServiceContent: _this moref -> ServiceContent
RenameSnapshot: _this moref, name string?, description string?
`;
