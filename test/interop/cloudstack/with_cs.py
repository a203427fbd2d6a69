"""The lab's CloudStack driven by exoscale's `cs`: one walk from an empty volume to a running machine and back.

with_cs.py get|post ENDPOINT APPLIANCE NAME; keys in CLOUDSTACK_KEY and CLOUDSTACK_SECRET. Prints one JSON object.
"""
import json
import os
import sys

from cs import CloudStack, CloudStackApiException

method, endpoint, appliance, name = sys.argv[1:]
key, secret = os.environ["CLOUDSTACK_KEY"], os.environ["CLOUDSTACK_SECRET"]
cloud = CloudStack(endpoint, key, secret, method=method, poll_interval=0.05, fetch_result=True)
seen = {}

zone = cloud.listZones()["zone"][0]["id"]
offering = cloud.listDiskOfferings(name="Custom Disk")["diskoffering"][0]["id"]
volume = cloud.createVolume(name=name, zoneid=zone, diskofferingid=offering, size=1)["volume"]["id"]
cloud.createTags(resourceids=[volume], resourcetype="Volume", tags=[{"key": "name", "value": name}])
cloud.attachVolume(id=volume, virtualmachineid=appliance)
seen["found"] = [v["name"] for v in cloud.listVolumes(name=name, fetch_list=True)]
seen["byTag"] = [v["id"] == volume for v in cloud.listVolumes(fetch_list=True, tags=[{"key": "name", "value": name}])]
cloud.detachVolume(id=volume)

machine = cloud.deployVirtualMachine(
    name="interop-cs",
    displayname=name,
    startvm="false",
    zoneid=zone,
    serviceofferingid=cloud.listServiceOfferings(name="Custom Instance")["serviceoffering"][0]["id"],
    templateid=cloud.listTemplates(templatefilter="executable", name="seed")["template"][0]["id"],
    details={"cpuNumber": 2, "memory": 1024, "cpuSpeed": 1500, "rootDiskController": "virtio"},
    iptonetworklist=[
        {"networkid": net["id"], "ip": "192.0.2.61", "mac": "00:50:56:00:00:61"}
        for net in cloud.listNetworks(keyword="lan", fetch_list=True)
    ],
)["virtualmachine"]
seen["deployed"] = [machine["state"], machine["displayname"], machine["cpunumber"], machine["memory"]]
seen["nic"] = [[nic["macaddress"], nic["ipaddress"]] for nic in machine["nic"]]
root = cloud.listVolumes(virtualmachineid=machine["id"])["volume"][0]["id"]
cloud.detachVolume(id=root)
cloud.deleteVolume(id=root)
cloud.attachVolume(id=volume, virtualmachineid=machine["id"], deviceid=0)
seen["started"] = cloud.startVirtualMachine(id=machine["id"])["virtualmachine"]["state"]
seen["listed"] = [vm["displayname"] for vm in cloud.listVirtualMachines(name="interop", fetch_list=True)]
try:
    cloud.detachVolume(id=volume)
except CloudStackApiException as error:
    seen["refused"] = [error.error["errorcode"], error.error["errortext"]]
cloud.stopVirtualMachine(id=machine["id"])
cloud.detachVolume(id=volume)
cloud.destroyVirtualMachine(id=machine["id"], expunge=True)
seen["left"] = cloud.listVirtualMachines(name="interop", fetch_list=True)
try:
    cloud.listVirtualMachines(id=machine["id"])
except CloudStackApiException as error:
    seen["gone"] = error.error["errorcode"]
cloud.deleteVolume(id=volume)
print(json.dumps(seen))
