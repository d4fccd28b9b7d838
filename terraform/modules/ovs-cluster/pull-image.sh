#!/bin/bash
# Pulls the agent's image with the machine's identity, so that no node holds a
# password of the registry. The image may be pushed long after the node's start,
# and again: a timer runs this every minute. Each content gets a name of its own
# too, as `meshlab image push` gives it: the beginning of its digest. REGISTRY,
# IMAGE and IDENTITY (a client ID) are in the environment.
set -euo pipefail

ctr() { command ctr --namespace k8s.io "$@"; }
# The token of the machine (Azure Instance Metadata Service), exchanged for one
# of the registry's.
metadata="http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fmanagement.azure.com%2F&client_id=$IDENTITY"
access=$(curl -fsS -H Metadata:true "$metadata" | jq -r .access_token)
refresh=$(curl -fsS "https://$REGISTRY/oauth2/exchange" \
	--data-urlencode grant_type=access_token --data-urlencode "service=$REGISTRY" \
	--data-urlencode "access_token=$access" | jq -r .refresh_token)
# The user name that registries take with a token. Nothing is fetched that is there.
ctr images pull --user "00000000-0000-0000-0000-000000000000:$refresh" "$IMAGE" >/dev/null
digest=$(ctr images list "name==$IMAGE" | awk 'NR == 2 { print $3 }')
ctr images tag --force "$IMAGE" "${IMAGE%:*}:${digest:7:12}" >/dev/null
