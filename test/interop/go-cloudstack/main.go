// Command go-cloudstack is an independent client for the lab's CloudStack, written on the typed library of its Terraform
// provider: every answer has to fit its structures.
//
//	go-cloudstack walk ENDPOINT APPLIANCE NAME   from an empty volume to a running machine and back
//	go-cloudstack sign PARAMETERS                what it signs for each object of a JSON list; the secret is `secret`
//
// Keys are in CLOUDSTACK_KEY and CLOUDSTACK_SECRET. Prints one JSON value. Errors go to stderr, with exit code 1.
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/xanzy/go-cloudstack/cloudstack"
)

func main() {
	var result interface{}
	var err error
	if os.Args[1] == "sign" {
		result, err = sign(os.Args[2])
	} else {
		result, err = walk(os.Args[2], os.Args[3], os.Args[4])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	json.NewEncoder(os.Stdout).Encode(result)
}

type report struct {
	Zone     string      `json:"zone"`
	Volume   [3]string   `json:"volume"`
	Attached int64       `json:"attached"`
	Deployed [2]string   `json:"deployed"`
	Nic      [2]string   `json:"nic"`
	Started  string      `json:"started"`
	Disks    [][2]string `json:"disks"`
	Limits   int         `json:"limits"`
	Refused  string      `json:"refused"`
	Left     int         `json:"left"`
}

func walk(endpoint, appliance, name string) (*report, error) {
	cs := cloudstack.NewAsyncClient(endpoint, os.Getenv("CLOUDSTACK_KEY"), os.Getenv("CLOUDSTACK_SECRET"), true)
	seen := &report{}
	zone, _, err := cs.Zone.GetZoneByName("zone-1")
	if err != nil {
		return nil, fmt.Errorf("zone: %w", err)
	}
	seen.Zone = zone.Name
	volume, err := copiedVolume(cs, zone.Id, appliance, name, seen)
	if err != nil {
		return nil, err
	}
	machine, err := deploy(cs, zone.Id, name, seen)
	if err != nil {
		return nil, err
	}
	if err := swapRoot(cs, machine, volume); err != nil {
		return nil, err
	}
	if err := run(cs, machine, volume, seen); err != nil {
		return nil, err
	}
	limits, err := cs.Limit.ListResourceLimits(cs.Limit.NewListResourceLimitsParams())
	if err != nil {
		return nil, fmt.Errorf("limits: %w", err)
	}
	seen.Limits = limits.Count
	return seen, remove(cs, machine, volume, seen)
}

// copiedVolume makes a volume that was at the appliance once, and is free again.
func copiedVolume(cs *cloudstack.CloudStackClient, zone, appliance, name string, seen *report) (string, error) {
	offering, _, err := cs.DiskOffering.GetDiskOfferingID("Custom Disk")
	if err != nil {
		return "", fmt.Errorf("disk offering: %w", err)
	}
	params := cs.Volume.NewCreateVolumeParams()
	params.SetName(name)
	params.SetZoneid(zone)
	params.SetDiskofferingid(offering)
	params.SetSize(1)
	made, err := cs.Volume.CreateVolume(params)
	if err != nil {
		return "", fmt.Errorf("create volume: %w", err)
	}
	tags := cs.Resourcetags.NewCreateTagsParams([]string{made.Id}, "Volume", map[string]string{"name": name})
	if _, err := cs.Resourcetags.CreateTags(tags); err != nil {
		return "", fmt.Errorf("tags: %w", err)
	}
	attached, err := cs.Volume.AttachVolume(cs.Volume.NewAttachVolumeParams(made.Id, appliance))
	if err != nil {
		return "", fmt.Errorf("attach: %w", err)
	}
	seen.Attached = attached.Deviceid
	found, _, err := cs.Volume.GetVolumeByID(made.Id)
	if err != nil {
		return "", fmt.Errorf("volume: %w", err)
	}
	seen.Volume = [3]string{found.Name, found.State, found.Tags[0].Value}
	return made.Id, detach(cs, made.Id)
}

func detach(cs *cloudstack.CloudStackClient, volume string) error {
	params := cs.Volume.NewDetachVolumeParams()
	params.SetId(volume)
	if _, err := cs.Volume.DetachVolume(params); err != nil {
		return fmt.Errorf("detach: %w", err)
	}
	return nil
}

func deploy(cs *cloudstack.CloudStackClient, zone, name string, seen *report) (string, error) {
	offering, _, err := cs.ServiceOffering.GetServiceOfferingID("Small Instance")
	if err != nil {
		return "", fmt.Errorf("service offering: %w", err)
	}
	template, _, err := cs.Template.GetTemplateByName("seed", "executable", zone)
	if err != nil {
		return "", fmt.Errorf("template: %w", err)
	}
	network, _, err := cs.Network.GetNetworkID("lan")
	if err != nil {
		return "", fmt.Errorf("network: %w", err)
	}
	params := cs.VirtualMachine.NewDeployVirtualMachineParams(offering, template.Id, zone)
	params.SetName("interop-go")
	params.SetDisplayname(name)
	params.SetStartvm(false)
	params.SetNetworkids([]string{network})
	params.SetMacaddress("00:50:56:00:00:63")
	params.SetDetails(map[string]string{"rootDiskController": "virtio"})
	made, err := cs.VirtualMachine.DeployVirtualMachine(params)
	if err != nil {
		return "", fmt.Errorf("deploy: %w", err)
	}
	seen.Deployed = [2]string{made.State, made.Displayname}
	seen.Nic = [2]string{made.Nic[0].Macaddress, made.Nic[0].Networkname}
	return made.Id, nil
}

func swapRoot(cs *cloudstack.CloudStackClient, machine, volume string) error {
	params := cs.Volume.NewListVolumesParams()
	params.SetVirtualmachineid(machine)
	params.SetType("ROOT")
	roots, err := cs.Volume.ListVolumes(params)
	if err != nil {
		return fmt.Errorf("root: %w", err)
	}
	if err := detach(cs, roots.Volumes[0].Id); err != nil {
		return err
	}
	if _, err := cs.Volume.DeleteVolume(cs.Volume.NewDeleteVolumeParams(roots.Volumes[0].Id)); err != nil {
		return fmt.Errorf("delete root: %w", err)
	}
	attach := cs.Volume.NewAttachVolumeParams(volume, machine)
	attach.SetDeviceid(0)
	if _, err := cs.Volume.AttachVolume(attach); err != nil {
		return fmt.Errorf("attach root: %w", err)
	}
	return nil
}

func run(cs *cloudstack.CloudStackClient, machine, volume string, seen *report) error {
	started, err := cs.VirtualMachine.StartVirtualMachine(cs.VirtualMachine.NewStartVirtualMachineParams(machine))
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	seen.Started = started.State
	params := cs.Volume.NewListVolumesParams()
	params.SetVirtualmachineid(machine)
	disks, err := cs.Volume.ListVolumes(params)
	if err != nil {
		return fmt.Errorf("disks: %w", err)
	}
	for _, disk := range disks.Volumes {
		seen.Disks = append(seen.Disks, [2]string{disk.Name, disk.Type})
	}
	if err := detach(cs, volume); err != nil {
		seen.Refused = err.Error()
	}
	return nil
}

func remove(cs *cloudstack.CloudStackClient, machine, volume string, seen *report) error {
	if _, err := cs.VirtualMachine.StopVirtualMachine(cs.VirtualMachine.NewStopVirtualMachineParams(machine)); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	if err := detach(cs, volume); err != nil {
		return err
	}
	params := cs.VirtualMachine.NewDestroyVirtualMachineParams(machine)
	params.SetExpunge(true)
	if _, err := cs.VirtualMachine.DestroyVirtualMachine(params); err != nil {
		return fmt.Errorf("destroy: %w", err)
	}
	if _, err := cs.Volume.DeleteVolume(cs.Volume.NewDeleteVolumeParams(volume)); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	list := cs.VirtualMachine.NewListVirtualMachinesParams()
	list.SetName("interop")
	left, err := cs.VirtualMachine.ListVirtualMachines(list)
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	seen.Left = left.Count
	return nil
}

type vector struct {
	Client     string            `json:"client"`
	Signature  string            `json:"signature"`
	Parameters map[string]string `json:"parameters"`
}

// sign lets the library send each request to a server of our own, and keeps what arrived.
func sign(text string) ([]vector, error) {
	var wanted []map[string]string
	if err := json.Unmarshal([]byte(text), &wanted); err != nil {
		return nil, err
	}
	var vectors []vector
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		sent := map[string]string{}
		for name := range r.Form {
			sent[name] = r.Form.Get(name)
		}
		signature := sent["signature"]
		delete(sent, "signature")
		vectors = append(vectors, vector{"go-cloudstack", signature, sent})
		fmt.Fprint(w, `{"answer":{}}`)
	}))
	defer server.Close()
	cs := cloudstack.NewClient(server.URL, "key", "secret", true)
	for _, given := range wanted {
		params := &cloudstack.CustomServiceParams{}
		for name, value := range given {
			if name != "command" {
				params.SetParam(name, value)
			}
		}
		var answer map[string]interface{}
		if err := cs.Custom.CustomRequest(given["command"], params, &answer); err != nil {
			return nil, err
		}
	}
	return vectors, nil
}
