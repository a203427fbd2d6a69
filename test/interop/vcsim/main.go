// A vCenter (or, with -esx, an ESXi host) that we did not write: the simulator of VMware's govmomi, over TLS.
// Prints one JSON line when it listens and runs until its standard input is closed.
package main

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/url"
	"os"
	"strings"

	"github.com/vmware/govmomi/simulator"
)

func thumbprint(sum []byte) string {
	pairs := make([]string, len(sum))
	for i, b := range sum {
		pairs[i] = fmt.Sprintf("%02X", b)
	}
	return strings.Join(pairs, ":")
}

func main() {
	esx := flag.Bool("esx", false, "simulate an ESXi host instead of a vCenter")
	username := flag.String("username", "operator@vsphere.local", "the only account")
	password := flag.String("password", "", "its password")
	machines := flag.Int("machines", 2, "virtual machines of each host and pool")
	apps := flag.Int("apps", 0, "vApps of each cluster")
	folders := flag.Int("folders", 0, "folders that everything is nested in")
	flag.Parse()

	model := simulator.VPX()
	if *esx {
		model = simulator.ESX()
	}
	model.Machine, model.App, model.Folder = *machines, *apps, *folders
	defer model.Remove()
	if err := model.Create(); err != nil {
		log.Fatal(err)
	}
	model.Service.TLS = new(tls.Config)
	// The user in the listening address makes the simulator check logins.
	model.Service.Listen = &url.URL{Host: "127.0.0.1:0", User: url.UserPassword(*username, *password)}
	server := model.Service.NewServer()
	defer server.Close()

	certificate := server.TLS.Certificates[0].Certificate[0]
	sha1Sum, sha256Sum := sha1.Sum(certificate), sha256.Sum256(certificate)
	err := json.NewEncoder(os.Stdout).Encode(map[string]string{
		"endpoint": server.URL.Host,
		"sha1":     thumbprint(sha1Sum[:]),
		"sha256":   thumbprint(sha256Sum[:]),
	})
	if err != nil {
		log.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}
