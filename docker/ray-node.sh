#!/bin/bash
# One node of the Ray cluster.
#   ray-node head              the head: it keeps the books of the cluster and runs no trials
#   ray-node worker [OPTION].. a node that runs trials, and `bmtas work OPTION..` which fetches them
#   ray-node health            whether the node in this container lives
# RAY_HEAD names the head (default ray-head:6379), RAY_NODE_CPUS how many CPUs trials may use (default: all).
set -euo pipefail

head_address="${RAY_HEAD:-ray-head:6379}"
common=(--disable-usage-stats --object-store-memory "${RAY_OBJECT_STORE_BYTES:-200000000}" --block)

# The address of this container in the network of the head; Ray's own guess asks a route to the internet.
own_ip() {
    python3 - "$1" <<'PYTHON'
import socket, sys
host, _, port = sys.argv[1].rpartition(":")
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
    probe.connect((host, int(port)))
    print(probe.getsockname()[0])
PYTHON
}

run_head() {
    exec ray start --head --port 6379 --num-cpus 0 --num-gpus 0 --include-dashboard false \
        --node-ip-address "$(own_ip "$(hostname):6379")" "${common[@]}"
}

run_worker() {
    local resources=() limits=() node_pid work_pid status=1
    if [ -n "${RAY_NODE_CPUS:-}" ]; then
        resources+=(--num-cpus "$RAY_NODE_CPUS")
        limits+=(--cpus "$RAY_NODE_CPUS")
    fi
    ray start --address "$head_address" --node-ip-address "$(own_ip "$head_address")" \
        "${resources[@]}" "${common[@]}" &
    node_pid=$!
    # Work that is claimed before the node is up would only be given back.
    while kill -0 "$node_pid" 2>/dev/null && ! check_health 2>/dev/null; do sleep 0.5; done
    bmtas work --ray-address "$head_address" "${limits[@]}" "$@" &
    work_pid=$!
    # Asked to stop, the worker saves its trials first; the node must outlive it.
    trap 'kill -TERM "$work_pid" 2>/dev/null || true' TERM INT
    # A signal interrupts `wait`, so wait on until one of the two has really ended. Neither is any good alone.
    while kill -0 "$node_pid" 2>/dev/null && kill -0 "$work_pid" 2>/dev/null; do
        wait -n "$node_pid" "$work_pid" && status=0 || status=$?
    done
    kill -TERM "$work_pid" "$node_pid" 2>/dev/null || true
    wait
    exit "$status"
}

# The node's socket answers as long as its raylet lives.
check_health() {
    python3 - <<'PYTHON'
import glob, os, socket, sys
folder = os.environ.get("RAY_SOCKETS", "/tmp/ray/session_latest/sockets")
for path in glob.glob(f"{folder}/raylet*"):
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(4)
        probe.connect(path)
    sys.exit(0)
sys.exit("ray-node: no raylet listens.")
PYTHON
}

role="${1:-}"
case "$role" in
    head) run_head ;;
    worker) shift; run_worker "$@" ;;
    health) check_health ;;
    *) echo "ray-node: the role is head, worker or health, got '$role'." >&2; exit 2 ;;
esac
