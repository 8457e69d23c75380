# Names and places that the cluster's scripts share. Sourced, never run. The cluster's name is $NAME.
#
# A node is four things: a control group of its own, which holds every process from the store to the pods; one
# process that holds a network and a mount namespace; the state folder; and nothing else. Mounts, links, sockets,
# pods' namespaces and whatever is under the node's /run end with its processes.
# shellcheck shell=bash disable=SC2034

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
name=${NAME:-gatehouse}
[[ $name =~ ^[a-z0-9-]{1,32}$ ]] || { echo "NAME must be 1 to 32 of a-z, 0-9 and -: $name" >&2; exit 2; }
state=$root/target/cluster/$name
# The same name in two checkouts is two clusters.
id=gatehouse-$name-$(echo "$root" | sha256sum | cut -c1-6)
node_ip=172.31.255.10
server=https://$node_ip:6443

# The control groups of the node, one a hierarchy; the first is the one that tells which processes are ours.
groups_of_node() {
    if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
        echo "/sys/fs/cgroup/$id"
    else
        local controller
        for controller in pids cpu cpuacct cpuset memory devices freezer blkio hugetlb systemd unified; do
            [ ! -d "/sys/fs/cgroup/$controller" ] || echo "/sys/fs/cgroup/$controller/$id"
        done
    fi
}
mapfile -t node_groups < <(groups_of_node)

# Every process of the node, pods and all.
processes() {
    find "${node_groups[0]}" -name cgroup.procs -exec cat {} + 2>/dev/null || true
}

# alive PART: its process lives and is ours, not a stranger's with a recycled number
alive() {
    local pid
    pid=$(cat "$state/pid/$1" 2>/dev/null) && grep -qs "/$id/" "/proc/$pid/cgroup" && [ "$(ps -o stat= -p "$pid" | cut -c1)" != Z ]
}

# inside CMD...: in both namespaces of the node
inside() {
    alive node || { echo "cluster $name is not up: make cluster NAME=$name" >&2; return 1; }
    nsenter --net --mount --wd="$PWD" -t "$(<"$state/pid/node")" -- "$@"
}

# Waits for its turn at this cluster. What is started meanwhile must not inherit the lock: close fd 8.
lock() {
    mkdir -p "$root/target/cluster"
    exec 8>"$root/target/cluster/$name.lock"
    flock -w 300 8 || { echo "cluster $name: another up or down has not ended in 300 s" >&2; exit 1; }
}
