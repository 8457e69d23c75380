# The cluster's CA, certificates and kubeconfigs, made anew for each cluster. Sourced by up.
# shellcheck shell=bash disable=SC2154

# certificate NAME SUBJECT USAGE [ALTERNATIVE NAMES]
certificate() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$2" -keyout "$1.key" -out "$1.csr" 2>/dev/null
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 -out "$1.crt" -extfile <(
        echo "extendedKeyUsage=$3"
        [ $# -lt 4 ] || echo "subjectAltName=$4"
    ) 2>/dev/null
}

kubeconfig() {
    cat >"$1.kubeconfig" <<YAML
apiVersion: v1
kind: Config
clusters:
- name: cluster
  cluster: {server: "$server", certificate-authority: "$state/pki/ca.crt"}
users:
- name: $1
  user: {client-certificate: "$state/pki/$1.crt", client-key: "$state/pki/$1.key"}
contexts:
- name: cluster
  context: {cluster: cluster, user: $1}
current-context: cluster
YAML
}

(
    cd "$state/pki"
    umask 077
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj /CN=cluster-ca -keyout ca.key -out ca.crt 2>/dev/null
    openssl ecparam -name prime256v1 -genkey -noout -out sa.key
    openssl ec -in sa.key -pubout -out sa.pub 2>/dev/null
    service=kubernetes.default.svc
    certificate apiserver /CN=kube-apiserver serverAuth "IP:127.0.0.1,IP:$node_ip,IP:10.96.0.1,DNS:kubernetes,DNS:kubernetes.default,DNS:$service,DNS:$service.cluster.local"
    certificate admin /O=system:masters/CN=admin clientAuth
    certificate kubelet /O=system:nodes/CN=system:node:node serverAuth,clientAuth "IP:$node_ip,DNS:node"
    kubeconfig admin
    kubeconfig kubelet
)
