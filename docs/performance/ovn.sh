#!/bin/bash
# What OVN's load balancer needs, as a Markdown table: flows, groups, memory,
# and the time until virtual addresses are in force, at growing numbers of
# virtual addresses with three backends each.
#
#   sudo docs/performance/ovn.sh                  # 10 100 1000 10000
#   sudo docs/performance/ovn.sh 10 500           # other sizes
#   sudo LIMIT=120 MORE=5 docs/performance/ovn.sh # seconds for a size, changes measured
#
# For Debian 12, as root. Packages that are missing are installed without
# starting their services. Everything runs in namespaces of its own (network,
# mount, PID) with its own /run, so the machine's Open vSwitch and OVN are not
# touched, and nothing is left when the script ends, however it ends.
set -euo pipefail

LIMIT=${LIMIT:-600} # seconds for one size
MORE=${MORE:-11}    # virtual addresses added one by one, for the median

if [ "${1:-}" != inside ]; then
	[ "$(id -u)" = 0 ] || { echo "$0: must run as root" >&2; exit 1; }
	missing=
	for p in openvswitch-switch ovn-central ovn-host; do
		dpkg-query -W -f='${Status}' $p 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
	done
	if [ -n "$missing" ]; then
		if [ ! -e /usr/sbin/policy-rc.d ]; then # what keeps services from starting (invoke-rc.d(8))
			printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
			chmod +x /usr/sbin/policy-rc.d
			trap 'rm -f /usr/sbin/policy-rc.d' EXIT
		fi
		# shellcheck disable=SC2086 # a list
		DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing >&2
		rm -f /usr/sbin/policy-rc.d
		trap - EXIT
	fi
	ulimit -s 262144 2>/dev/null || true # long argument lists (execve(2))
	echo "$(ovn-northd --version | head -1), $(ovs-vswitchd --version | head -1), $(nproc) processors, Linux $(uname -r)"
	echo
	echo '| Virtual addresses | OpenFlow flows / groups | all at once: client + until in force | RSS MB northd / ovn-controller / ovs-vswitchd / SB | one more until in force, median (max) of '"$MORE"' | `ovn-nbctl --wait=hv sync` alone |'
	echo '|---|---|---|---|---|---|'
	[ $# -gt 0 ] || set -- 10 100 1000 10000
	for size in "$@"; do
		# Fresh processes for each size. When unshare ends, the kernel kills all
		# that is in the PID namespace, and with it go the network and /run.
		if ! MORE=$MORE timeout --foreground --signal=KILL "$LIMIT" \
			unshare --net --mount --pid --fork --kill-child --mount-proc "$0" inside "$size"; then
			echo "| $size | not in force within $LIMIT s, or failed | | | | |"
		fi
	done
	exit
fi

size=$2
mount -t tmpfs tmpfs /run # all of Debian's default paths are below it
mkdir -p /run/openvswitch /run/ovn
cd /run
ip link set lo up
quiet=(-vconsole:err -vsyslog:off -vfile:off)

db() { # NAME SCHEMA FOLDER: a database server
	ovsdb-tool create "/run/$1.db" "$2"
	ovsdb-server "/run/$1.db" --remote="punix:/run/$3" --pidfile="/run/$1.pid" --unixctl="/run/$1.ctl" --detach "${quiet[@]}"
}
db conf /usr/share/openvswitch/vswitch.ovsschema openvswitch/db.sock
db nb /usr/share/ovn/ovn-nb.ovsschema ovn/ovnnb_db.sock
db sb /usr/share/ovn/ovn-sb.ovsschema ovn/ovnsb_db.sock
ovs-vsctl --no-wait init
ovs-vsctl --no-wait set open_vswitch . external_ids:system-id=hv external_ids:ovn-remote=unix:/run/ovn/ovnsb_db.sock \
	external_ids:ovn-encap-type=geneve external_ids:ovn-encap-ip=127.0.0.1 external_ids:ovn-bridge-datapath-type=netdev
ovs-vswitchd --pidfile=/run/vswitchd.pid --detach "${quiet[@]}"
ovn-northd --pidfile=/run/northd.pid --detach "${quiet[@]}" \
	--ovnnb-db=unix:/run/ovn/ovnnb_db.sock --ovnsb-db=unix:/run/ovn/ovnsb_db.sock
ovn-controller --pidfile=/run/controller.pid --detach "${quiet[@]}"
# A client that holds the database, so that its start is not measured.
OVN_NB_DAEMON=$(ovn-nbctl --db=unix:/run/ovn/ovnnb_db.sock --pidfile=/run/nbctl.pid --detach "${quiet[@]}")
export OVN_NB_DAEMON

# A switch with one workload on this hypervisor, and the router that answers
# ARP for what is beyond it: the virtual addresses.
ovn-nbctl ls-add net -- lsp-add net host -- lsp-set-addresses host "0a:00:00:00:00:02 192.168.0.2" \
	-- lr-add router -- lrp-add router gate 0a:00:00:00:00:01 192.168.0.1/24 \
	-- lsp-add net to-router -- lsp-set-type to-router router -- lsp-set-addresses to-router router \
	-- lsp-set-options to-router router-port=gate
ovs-vsctl --timeout=60 add-port br-int host -- set interface host type=internal external_ids:iface-id=host 2>/dev/null ||
	ovs-vsctl --timeout=60 --may-exist add-br br-int -- set bridge br-int datapath_type=netdev fail-mode=secure \
		-- add-port br-int host -- set interface host type=internal external_ids:iface-id=host
ovn-nbctl --wait=hv sync
ovn-nbctl --timeout=60 wait-until logical_switch_port host up=true

# services FROM TO: the arguments that make virtual addresses with three
# backends each, in one transaction.
services() {
	local i a b names=()
	arguments=()
	for ((i = $1; i < $2; i++)); do
		a=$((i / 250)) b=$((i % 250 + 1))
		names+=("@l$i")
		arguments+=(-- "--id=@l$i" create load_balancer "name=l$i" protocol=tcp
			"vips:\"172.16.$a.$b:80\"=\"10.1.$a.$b:80,10.2.$a.$b:80,10.3.$a.$b:80\"")
	done
	arguments+=(-- add logical_switch net load_balancer "${names[@]}")
}
us() { # COMMAND...: its duration in microseconds
	local begin=${EPOCHREALTIME/./}
	"$@" >/dev/null
	echo $((${EPOCHREALTIME/./} - begin))
}
summary() { # numbers of microseconds on standard input: "median (max) ms"
	sort -n | awk '{v[NR] = $1} END {printf "%.1f (%.1f) ms", v[int((NR + 1) / 2)] / 1000, v[NR] / 1000}'
}
rss() { awk '/^VmRSS/ {printf "%.0f", $2 / 1024}' "/proc/$(cat "/run/$1.pid")/status"; }
flows() { ovs-ofctl -O OpenFlow15 dump-aggregate br-int | sed 's/.*flow_count=//'; }
groups() { ovs-ofctl -O OpenFlow15 dump-groups br-int | grep -c group_id= || true; }

seconds() { awk "BEGIN {printf \"%.2f s\", $1 / 1e6}"; }

services 0 "$size"
commit=$(us ovn-nbctl "${arguments[@]}")
force=$(us ovn-nbctl --wait=hv sync)
have=$(groups)
[ "$have" = "$size" ] || { echo "$0: $have groups for $size virtual addresses" >&2; exit 1; }
line="| $size | $(flows) / $have | $(seconds "$commit") + $(seconds "$force")"
line="$line | $(rss northd) / $(rss controller) / $(rss vswitchd) / $(rss sb)"
more=$(for ((i = size; i < size + MORE; i++)); do
	services "$i" $((i + 1))
	us ovn-nbctl --wait=hv "${arguments[@]}"
done)
none=$(for ((i = 0; i < MORE; i++)); do us ovn-nbctl --wait=hv sync; done)
[ "$(groups)" = $((size + MORE)) ] || { echo "$0: $(groups) groups after $MORE more" >&2; exit 1; }
echo "$line | $(summary <<<"$more") | $(summary <<<"$none") |"
