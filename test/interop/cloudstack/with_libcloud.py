"""The lab's CloudStack driven by Apache Libcloud, which lists and makes things in its own words.

with_libcloud.py ENDPOINT APPLIANCE NAME; keys in CLOUDSTACK_KEY and CLOUDSTACK_SECRET. Prints one JSON object.
"""
import json
import os
import sys

from libcloud.common.cloudstack import CloudStackConnection
from libcloud.compute.drivers.cloudstack import CloudStackNodeDriver

endpoint, appliance, name = sys.argv[1:]
CloudStackConnection.poll_interval = 0.05
driver = CloudStackNodeDriver(
    key=os.environ["CLOUDSTACK_KEY"], secret=os.environ["CLOUDSTACK_SECRET"], url=endpoint, secure=False
)
seen = {
    "locations": [each.name for each in driver.list_locations()],
    "sizes": [[each.name, each.ram, each.extra["cpu"]] for each in driver.list_sizes()],
    "images": sorted(each.name for each in driver.list_images()),
    "networks": sorted(each.name for each in driver.ex_list_networks()),
    "projects": [each.name for each in driver.ex_list_projects()],
    "offerings": sorted(each.name for each in driver.ex_list_disk_offerings()),
}
volume = driver.create_volume(size=1, name=name, ex_volume_type="Custom Disk")
[host] = [node for node in driver.list_nodes() if node.id == appliance]
seen["appliance"] = [host.name, host.state]
driver.attach_volume(host, volume)
seen["volumes"] = [[v.name, v.size, str(v.state)] for v in driver.list_volumes(host) if v.id == volume.id]
driver.detach_volume(volume)
seen["detached"] = str(driver.ex_get_volume(volume.id).state)
node = driver.create_node(
    name="interop-libcloud",
    size=driver.list_sizes()[0],
    image=[image for image in driver.list_images() if image.name == "seed"][0],
    location=driver.list_locations()[0],
    networks=[net for net in driver.ex_list_networks() if net.name == "lan"],
    ex_displayname=name,
    ex_ip_address="192.0.2.62",
)
seen["node"] = [node.name, node.state, node.public_ips]
seen["started"] = driver.ex_start(node)
seen["running"] = [each.state for each in driver.list_nodes() if each.id == node.id]
seen["stopped"] = driver.ex_stop(node)
try:
    driver.attach_volume(node, driver.ex_get_volume(driver.list_volumes(host)[0].id))
except Exception as error:  # libcloud knows no kinds of job failures
    seen["refused"] = str(error)
driver.destroy_node(node, ex_expunge=True)
seen["left"] = [each.name for each in driver.list_nodes()]
driver.destroy_volume(volume)
print(json.dumps(seen))
