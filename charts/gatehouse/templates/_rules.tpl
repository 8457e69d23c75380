{{- /*
What the controller may do; docs/install.md lists the same. Of kinds without a namespace, in every mode: */ -}}
{{- define "gatehouse.clusterRules" -}}
- apiGroups: [gateway.networking.k8s.io]
  resources: [gatewayclasses]
  verbs: [get, list, watch]
- apiGroups: [gateway.networking.k8s.io]
  resources: [gatewayclasses/status]
  verbs: [patch]
- apiGroups: [networking.k8s.io]
  resources: [ingressclasses]
  verbs: [get, list, watch]
# Listeners choose the namespaces of their routes by label.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get, list, watch]
# Kinds may come and go.
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  verbs: [get, list, watch]
# Who a dataplane is.
- apiGroups: [authentication.k8s.io]
  resources: [tokenreviews]
  verbs: [create]
# Those on objects without a namespace are in `default`.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end -}}

{{/* Of kinds in namespaces: everywhere, or in the namespaces that are watched. */}}
{{- define "gatehouse.namespacedRules" -}}
- apiGroups: [gateway.networking.k8s.io]
  resources: [backendtlspolicies, gateways, grpcroutes, httproutes, listenersets, referencegrants, tcproutes, tlsroutes, udproutes]
  verbs: [get, list, watch]
- apiGroups: [gateway.networking.k8s.io]
  resources: [backendtlspolicies/status, gateways/status, grpcroutes/status, httproutes/status, listenersets/status, tcproutes/status, tlsroutes/status, udproutes/status]
  verbs: [patch]
- apiGroups: [gatehouse.dev]
  resources: [authpolicies, consumers, gatewayconfigs, gatewayroutes, ratelimitpolicies, trafficpolicies]
  verbs: [get, list, watch]
- apiGroups: [gatehouse.dev]
  resources: [authpolicies/status, consumers/status, gatewayconfigs/status, gatewayroutes/status, ratelimitpolicies/status, trafficpolicies/status]
  verbs: [patch]
- apiGroups: [networking.k8s.io]
  resources: [ingresses]
  verbs: [get, list, watch]
- apiGroups: [networking.k8s.io]
  resources: [ingresses/status]
  verbs: [patch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch]
# Certificates of listeners and credentials of consumers: users name them, and RBAC can't know the names.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch]
# Certificates of authorities; they hold what a Gateway's pods start with as well.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [create, delete, get, list, patch, watch]
# Where requests go, and the Services of Gateways.
- apiGroups: [""]
  resources: [services]
  verbs: [create, delete, get, list, patch, watch]
# What else a Gateway becomes, in the Gateway's namespace.
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [create, delete, get, patch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [create, delete, get, patch]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [create, delete, get, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [create, delete, get, patch]
{{- end -}}

{{/* Of its own, in the release's namespace. What is created can't be limited by name. */}}
{{- define "gatehouse.ownRules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [gatehouse-controller]
  verbs: [get, update]
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [gatehouse-channel-ca]
  verbs: [get, update]
{{- end -}}
