package main

import (
	"encoding/base64"
	"strings"
	"testing"

	"meshlab.dev/meshlab/terraform"
)

// Terraform puts the image in place of a word, which must be nowhere else.
func TestCloudManifest(t *testing.T) {
	text, err := cloudManifest()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(text, terraform.ImageWord) != 1 || !strings.Contains(text, "image: "+terraform.ImageWord+"\n") {
		t.Errorf("the manifests have the image at another place than one:\n%s", text)
	}
	// Azure takes 64 KiB at most; 16 are the scripts' and kubeadm's files.
	// https://learn.microsoft.com/azure/virtual-machines/custom-data
	if n := base64.StdEncoding.EncodedLen(len(text)); n > (64-16)<<10 {
		t.Errorf("the manifests take %d bytes of a machine's custom data", n)
	}
	if !strings.Contains(text, "vip: "+cloudVIP) || !strings.Contains(text, "endpointslices") {
		t.Errorf("the manifests are not those of virtual address %s and services of the cluster:\n%s", cloudVIP, text)
	}
}
