// Command govmomi is an independent client for the lab's vCenter, written on VMware's own Go library. It
// logs in, finds a machine, turns change tracking on, makes and removes a snapshot, asks for the changed
// areas page by page, and prints what it saw as one JSON object. With -list it reads the names and devices of
// all machines instead, in pages of so many. Errors go to stderr, with exit code 1.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

type disk struct {
	Key           int32      `json:"key"`
	Label         string     `json:"label"`
	CapacityBytes int64      `json:"capacityBytes"`
	ControllerKey int32      `json:"controllerKey"`
	UnitNumber    int32      `json:"unitNumber"`
	FileName      string     `json:"fileName"`
	DiskMode      string     `json:"diskMode"`
	ChangeID      string     `json:"changeId"`
	Pages         int        `json:"pages"`
	Areas         [][2]int64 `json:"areas"`
}

type report struct {
	About           types.AboutInfo `json:"about"`
	UserName        string          `json:"userName"`
	VM              string          `json:"vm"`
	InventoryPath   string          `json:"inventoryPath"`
	FoundByIndex    string          `json:"foundByIndex"`
	InView          []string        `json:"inView"`
	Name            string          `json:"name"`
	InstanceUUID    string          `json:"instanceUuid"`
	Version         string          `json:"version"`
	PowerState      string          `json:"powerState"`
	ToolsStatus     string          `json:"toolsStatus"`
	Host            string          `json:"host"`
	TrackingBefore  bool            `json:"trackingBefore"`
	TrackingAfter   bool            `json:"trackingAfter"`
	Snapshot        string          `json:"snapshot"`
	SnapshotsAtWork []string        `json:"snapshotsAtWork"`
	SnapshotsAfter  []string        `json:"snapshotsAfter"`
	Granted         map[string]bool `json:"granted"`
	Disks           []disk          `json:"disks"`
}

func main() {
	endpoint := flag.String("endpoint", "", "host:port")
	username := flag.String("username", "", "")
	thumbprint := flag.String("thumbprint", "", "SHA-1 of the certificate; without it, any is taken")
	path := flag.String("path", "", "inventory path of the machine")
	since := flag.String("since", "*", "change ID to ask from, for every disk")
	list := flag.Int("list", 0, "read all machines instead, in pages of so many")
	flag.Parse()
	result, err := run(*endpoint, *username, os.Getenv("GOVMOMI_PASSWORD"), *thumbprint, func(ctx context.Context, client *govmomi.Client) (interface{}, error) {
		if *list > 0 {
			return listMachines(ctx, client, int32(*list))
		}
		return workOn(ctx, client, *path, *since)
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	json.NewEncoder(os.Stdout).Encode(result)
}

func run(endpoint, username, password, thumbprint string, work func(context.Context, *govmomi.Client) (interface{}, error)) (interface{}, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, err := connect(ctx, endpoint, username, password, thumbprint)
	if err != nil {
		return nil, fmt.Errorf("login: %w", err)
	}
	defer client.Logout(context.Background())
	return work(ctx, client)
}

// listing is what -list prints: the machines of each page, and the disks of each machine.
type listing struct {
	Pages [][]string        `json:"pages"`
	Disks map[string]int    `json:"disks"`
	Paths map[string]string `json:"paths"`
}

// listMachines reads a container view over everything, page by page.
func listMachines(ctx context.Context, client *govmomi.Client, size int32) (*listing, error) {
	root := client.ServiceContent.RootFolder
	machines, err := view.NewManager(client.Client).CreateContainerView(ctx, root, []string{"VirtualMachine"}, true)
	if err != nil {
		return nil, fmt.Errorf("container view: %w", err)
	}
	defer machines.Destroy(ctx)
	collector := client.ServiceContent.PropertyCollector
	first, err := methods.RetrievePropertiesEx(ctx, client.Client, &types.RetrievePropertiesEx{
		This: collector,
		SpecSet: []types.PropertyFilterSpec{{
			PropSet: []types.PropertySpec{{Type: "VirtualMachine", PathSet: []string{"name", "config.hardware.device"}}},
			ObjectSet: []types.ObjectSpec{{
				Obj: machines.Reference(), Skip: types.NewBool(true),
				SelectSet: []types.BaseSelectionSpec{&types.TraversalSpec{Type: "ContainerView", Path: "view"}},
			}},
		}},
		Options: types.RetrieveOptions{MaxObjects: size},
	})
	if err != nil {
		return nil, fmt.Errorf("first page: %w", err)
	}
	result := &listing{Pages: [][]string{}, Disks: map[string]int{}, Paths: map[string]string{}}
	for page := first.Returnval; page != nil; {
		if err := result.add(ctx, client, page.Objects); err != nil {
			return nil, err
		}
		if page.Token == "" {
			break
		}
		next, err := methods.ContinueRetrievePropertiesEx(ctx, client.Client, &types.ContinueRetrievePropertiesEx{This: collector, Token: page.Token})
		if err != nil {
			return nil, fmt.Errorf("page %d: %w", len(result.Pages)+1, err)
		}
		page = &next.Returnval
	}
	return result, nil
}

func (l *listing) add(ctx context.Context, client *govmomi.Client, objects []types.ObjectContent) error {
	names := []string{}
	for _, content := range objects {
		var machine mo.VirtualMachine
		if err := mo.LoadObjectContent([]types.ObjectContent{content}, &machine); err != nil {
			return fmt.Errorf("%s: %w", content.Obj.Value, err)
		}
		names = append(names, machine.Name)
		for _, device := range machine.Config.Hardware.Device {
			if _, ok := device.(*types.VirtualDisk); ok {
				l.Disks[machine.Name]++
			}
		}
		path, err := find.InventoryPath(ctx, client.Client, content.Obj)
		if err != nil {
			return fmt.Errorf("path of %s: %w", machine.Name, err)
		}
		l.Paths[machine.Name] = path
	}
	l.Pages = append(l.Pages, names)
	return nil
}

func workOn(ctx context.Context, client *govmomi.Client, path, since string) (*report, error) {
	result := &report{About: client.ServiceContent.About}
	vm, err := describe(ctx, client, path, result)
	if err != nil {
		return nil, err
	}
	if err := turnTrackingOn(ctx, vm, result); err != nil {
		return nil, fmt.Errorf("change tracking: %w", err)
	}
	return result, lookAtSnapshot(ctx, vm, since, result)
}

func connect(ctx context.Context, endpoint, username, password, thumbprint string) (*govmomi.Client, error) {
	address := &url.URL{Scheme: "https", Host: endpoint, Path: "/sdk"}
	transport := soap.NewClient(address, thumbprint == "")
	if thumbprint != "" {
		transport.SetThumbprint(endpoint, thumbprint)
	}
	vimClient, err := vim25.NewClient(ctx, transport)
	if err != nil {
		return nil, err
	}
	client := &govmomi.Client{Client: vimClient, SessionManager: session.NewManager(vimClient)}
	return client, client.Login(ctx, url.UserPassword(username, password))
}

// describe finds the machine in three independent ways and reads its properties.
func describe(ctx context.Context, client *govmomi.Client, path string, result *report) (*object.VirtualMachine, error) {
	user, err := client.SessionManager.UserSession(ctx)
	if err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	result.UserName = user.UserName
	vm, err := find.NewFinder(client.Client).VirtualMachine(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("finder: %w", err)
	}
	result.VM = vm.Reference().Value
	result.InventoryPath = vm.InventoryPath
	indexed, err := object.NewSearchIndex(client.Client).FindByInventoryPath(ctx, path)
	if err != nil || indexed == nil {
		return nil, fmt.Errorf("search index: %v, %w", indexed, err)
	}
	result.FoundByIndex = indexed.Reference().Value
	if result.InView, err = namesInView(ctx, client); err != nil {
		return nil, fmt.Errorf("container view: %w", err)
	}
	if result.Granted, err = privileges(ctx, client, vm, user.Key); err != nil {
		return nil, fmt.Errorf("privileges: %w", err)
	}
	return vm, readMachine(ctx, client, vm, result)
}

func readMachine(ctx context.Context, client *govmomi.Client, vm *object.VirtualMachine, result *report) error {
	var all mo.VirtualMachine
	if err := vm.Properties(ctx, vm.Reference(), nil, &all); err != nil {
		return fmt.Errorf("all properties: %w", err)
	}
	var host mo.HostSystem
	collector := property.DefaultCollector(client.Client)
	if err := collector.RetrieveOne(ctx, *all.Runtime.Host, []string{"name", "summary.config"}, &host); err != nil {
		return fmt.Errorf("host: %w", err)
	}
	result.Name = all.Name
	result.InstanceUUID = all.Config.InstanceUuid
	result.Version = all.Config.Version
	result.PowerState = string(all.Runtime.PowerState)
	result.ToolsStatus = string(all.Guest.ToolsStatus)
	result.TrackingBefore = *all.Config.ChangeTrackingEnabled
	result.Host = host.Name
	return nil
}

func namesInView(ctx context.Context, client *govmomi.Client) ([]string, error) {
	root := client.ServiceContent.RootFolder
	machines, err := view.NewManager(client.Client).CreateContainerView(ctx, root, []string{"VirtualMachine"}, true)
	if err != nil {
		return nil, err
	}
	defer machines.Destroy(ctx)
	var found []mo.VirtualMachine
	if err := machines.Retrieve(ctx, []string{"VirtualMachine"}, []string{"name"}, &found); err != nil {
		return nil, err
	}
	names := []string{}
	for _, machine := range found {
		names = append(names, machine.Name)
	}
	return names, nil
}

func privileges(ctx context.Context, client *govmomi.Client, vm *object.VirtualMachine, key string) (map[string]bool, error) {
	response, err := methods.HasPrivilegeOnEntities(ctx, client.Client, &types.HasPrivilegeOnEntities{
		This:      *client.ServiceContent.AuthorizationManager,
		Entity:    []types.ManagedObjectReference{vm.Reference()},
		SessionId: key,
		PrivId:    []string{"VirtualMachine.State.CreateSnapshot", "No.Such.Privilege"},
	})
	if err != nil {
		return nil, err
	}
	granted := map[string]bool{}
	for _, entity := range response.Returnval {
		for _, privilege := range entity.PrivAvailability {
			granted[privilege.PrivId] = privilege.IsGranted
		}
	}
	return granted, nil
}

func turnTrackingOn(ctx context.Context, vm *object.VirtualMachine, result *report) error {
	task, err := vm.Reconfigure(ctx, types.VirtualMachineConfigSpec{ChangeTrackingEnabled: types.NewBool(true)})
	if err != nil {
		return err
	}
	if err := task.Wait(ctx); err != nil {
		return err
	}
	var now mo.VirtualMachine
	if err := vm.Properties(ctx, vm.Reference(), []string{"config.changeTrackingEnabled"}, &now); err != nil {
		return err
	}
	result.TrackingAfter = *now.Config.ChangeTrackingEnabled
	return nil
}

func lookAtSnapshot(ctx context.Context, vm *object.VirtualMachine, since string, result *report) error {
	task, err := vm.CreateSnapshot(ctx, "interop", "made by the govmomi client", false, true)
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	info, err := task.WaitForResult(ctx, nil)
	if err != nil {
		return fmt.Errorf("snapshot task: %w", err)
	}
	snapshot := info.Result.(types.ManagedObjectReference)
	result.Snapshot = snapshot.Value
	if result.SnapshotsAtWork, err = treeNames(ctx, vm); err != nil {
		return err
	}
	if err := readDisks(ctx, vm, snapshot, since, result); err != nil {
		return err
	}
	consolidate := true
	removal, err := vm.RemoveSnapshot(ctx, snapshot.Value, false, &consolidate)
	if err != nil {
		return fmt.Errorf("removal: %w", err)
	}
	if err := removal.Wait(ctx); err != nil {
		return fmt.Errorf("removal task: %w", err)
	}
	result.SnapshotsAfter, err = treeNames(ctx, vm)
	return err
}

func readDisks(ctx context.Context, vm *object.VirtualMachine, snapshot types.ManagedObjectReference, since string, result *report) error {
	var frozen mo.VirtualMachineSnapshot
	collector := property.DefaultCollector(vm.Client())
	if err := collector.RetrieveOne(ctx, snapshot, []string{"config.hardware.device"}, &frozen); err != nil {
		return fmt.Errorf("snapshot's disks: %w", err)
	}
	for _, device := range frozen.Config.Hardware.Device {
		virtual, ok := device.(*types.VirtualDisk)
		if !ok {
			continue
		}
		backing, ok := virtual.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
		if !ok {
			continue
		}
		found := disk{
			Key: virtual.Key, Label: virtual.DeviceInfo.GetDescription().Label, CapacityBytes: virtual.CapacityInBytes,
			ControllerKey: virtual.ControllerKey, UnitNumber: *virtual.UnitNumber,
			FileName: backing.FileName, DiskMode: backing.DiskMode, ChangeID: backing.ChangeId,
		}
		if err := changedAreas(ctx, vm, snapshot, since, &found); err != nil {
			return fmt.Errorf("changed areas of disk %d: %w", found.Key, err)
		}
		result.Disks = append(result.Disks, found)
	}
	return nil
}

func changedAreas(ctx context.Context, vm *object.VirtualMachine, snapshot types.ManagedObjectReference, since string, found *disk) error {
	found.Areas = [][2]int64{}
	for offset := int64(0); offset < found.CapacityBytes; {
		response, err := methods.QueryChangedDiskAreas(ctx, vm.Client(), &types.QueryChangedDiskAreas{
			This: vm.Reference(), Snapshot: &snapshot, DeviceKey: found.Key, StartOffset: offset, ChangeId: since,
		})
		if err != nil {
			return err
		}
		page := response.Returnval
		if page.StartOffset != offset || page.Length <= 0 {
			return fmt.Errorf("page %d+%d after offset %d", page.StartOffset, page.Length, offset)
		}
		for _, area := range page.ChangedArea {
			found.Areas = append(found.Areas, [2]int64{area.Start, area.Length})
		}
		found.Pages++
		offset = page.StartOffset + page.Length
	}
	return nil
}

func treeNames(ctx context.Context, vm *object.VirtualMachine) ([]string, error) {
	var now mo.VirtualMachine
	if err := vm.Properties(ctx, vm.Reference(), []string{"snapshot"}, &now); err != nil {
		return nil, fmt.Errorf("snapshot tree: %w", err)
	}
	names := []string{}
	if now.Snapshot == nil {
		return names, nil
	}
	for _, root := range now.Snapshot.RootSnapshotList {
		names = append(names, root.Name)
	}
	return names, nil
}
