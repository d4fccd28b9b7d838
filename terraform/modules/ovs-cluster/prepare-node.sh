#!/bin/bash
# Makes a machine ready for kubeadm: kernel modules, packages, the bridge of the
# mesh. KUBERNETES is the minor version, as 1.35.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive

modprobe -a overlay br_netfilter openvswitch
printf '%s\n' overlay br_netfilter openvswitch >/etc/modules-load.d/meshlab.conf
printf '%s\n' 'net.bridge.bridge-nf-call-iptables = 1' 'net.ipv4.ip_forward = 1' >/etc/sysctl.d/90-meshlab.conf
sysctl --system >/dev/null
swapoff -a

key=/etc/apt/keyrings/kubernetes.asc
source=https://pkgs.k8s.io/core:/stable:/v$KUBERNETES/deb/
mkdir -p /etc/apt/keyrings
curl -fsSL --retry 10 --retry-all-errors "${source}Release.key" -o "$key"
echo "deb [signed-by=$key] $source /" >/etc/apt/sources.list.d/kubernetes.list
packages() { # the lists have a lock that apt does not wait for, and mirrors have bad moments
	apt-get -o DPkg::Lock::Timeout=300 update -q &&
		apt-get -o DPkg::Lock::Timeout=300 install -qy containerd openvswitch-switch kubeadm kubelet kubectl jq
}
for try in {1..20}; do
	packages && break
	[ "$try" -lt 20 ]
	sleep 15
done
apt-mark hold kubeadm kubelet kubectl

# kubelet's group driver is systemd's (kubeadm's documentation, "Configuring a cgroup driver").
mkdir -p /etc/containerd
containerd config default | sed 's/SystemdCgroup = false/SystemdCgroup = true/' >/etc/containerd/config.toml
systemctl restart containerd

# The thesis' bridge. Its flows are the agent's, and none are there before it.
ovs-vsctl --may-exist add-br br1 -- set-fail-mode br1 secure
