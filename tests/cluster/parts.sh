# The command line and configuration of each of the node's processes. Sourced by up; part and state are its own.
# shellcheck shell=bash disable=SC2154

# Nothing but loopback, a bridge without ports as the uplink and the pods' bridge: no way out of this machine.
part node <<BASH
set -euo pipefail
mount --make-rshared /
mount -t tmpfs tmpfs /run
for folder in kubelet containerd cni; do mount --bind "$state/disk/\$folder" "/var/lib/\$folder"; done
for folder in pods containers; do mount --bind "$state/disk/\$folder" "/var/log/\$folder"; done
ip link set lo up
ip link add node0 type bridge
ip addr add $node_ip/24 dev node0
ip link set node0 up
ip route add default dev node0
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet
echo 1 2>/dev/null >/proc/sys/net/bridge/bridge-nf-call-iptables || true
touch /run/node-ready
exec sleep infinity
BASH

binaries="PATH=$path:$PATH"

part etcd <<BASH
$binaries exec etcd --data-dir etcd --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --unsafe-no-fsync --log-level error
BASH

part kube-apiserver <<BASH
$binaries exec kube-apiserver --etcd-servers=http://127.0.0.1:2379 --advertise-address=$node_ip --secure-port=6443 \
    --tls-cert-file=pki/apiserver.crt --tls-private-key-file=pki/apiserver.key --client-ca-file=pki/ca.crt \
    --kubelet-client-certificate=pki/admin.crt --kubelet-client-key=pki/admin.key --kubelet-preferred-address-types=InternalIP \
    --service-account-key-file=pki/sa.pub --service-account-signing-key-file=pki/sa.key \
    --service-account-issuer=https://kubernetes.default.svc --service-cluster-ip-range=10.96.0.0/16 \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged
BASH

part kube-controller-manager <<BASH
$binaries exec kube-controller-manager --kubeconfig=pki/admin.kubeconfig --root-ca-file=pki/ca.crt \
    --service-account-private-key-file=pki/sa.key --cluster-signing-cert-file=pki/ca.crt --cluster-signing-key-file=pki/ca.key \
    --use-service-account-credentials --leader-elect=false --allocate-node-cidrs=false
BASH

part kube-scheduler <<BASH
$binaries exec kube-scheduler --kubeconfig=pki/admin.kubeconfig --leader-elect=false
BASH

# Gives addresses to Services of type LoadBalancer.
part addresses <<BASH
$binaries exec addresses -server $server -ca pki/ca.crt -cert pki/admin.crt -key pki/admin.key
BASH

part containerd <<BASH
exec containerd --config "$state/containerd.toml"
BASH
# restrict_oom_score_adj: for machines that withhold CAP_SYS_RESOURCE, as containers do.
cat >"$state/containerd.toml" <<TOML
version = 2
[plugins."io.containerd.internal.v1.opt"]
  path = "/run/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "gatehouse.test/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$state/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
TOML
cat >"$state/cni/10-pods.conflist" <<JSON
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "pods0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}
]}
JSON

part kubelet <<BASH
$binaries exec kubelet --config="$state/kubelet.yaml" --kubeconfig=pki/kubelet.kubeconfig --hostname-override=node --node-ip=$node_ip
BASH
: >"$state/resolv.conf"
cat >"$state/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: cgroupfs
cgroupRoot: /$id
enforceNodeAllocatable: []
failSwapOn: false
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
volumePluginDir: /var/lib/kubelet/volumeplugins
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
resolvConf: "$state/resolv.conf"
tlsCertFile: "$state/pki/kubelet.crt"
tlsPrivateKeyFile: "$state/pki/kubelet.key"
authentication: {anonymous: {enabled: false}, webhook: {enabled: false}, x509: {clientCAFile: "$state/pki/ca.crt"}}
authorization: {mode: AlwaysAllow}
evictionHard: {memory.available: "100Mi", nodefs.available: "1%", imagefs.available: "1%"}
imageGCHighThresholdPercent: 100
maxPods: 250
podCIDR: 10.244.0.0/24
YAML

part kube-proxy <<BASH
$binaries exec kube-proxy --config="$state/kube-proxy.yaml"
BASH
cat >"$state/kube-proxy.yaml" <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
clusterCIDR: 10.244.0.0/16
hostnameOverride: node
clientConnection: {kubeconfig: "$state/pki/admin.kubeconfig"}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
iptables: {minSyncPeriod: 0s}
YAML
