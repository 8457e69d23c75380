{{- define "gatehouse.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 42 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 42 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 42 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "gatehouse.controller" -}}
{{ include "gatehouse.fullname" . }}-controller
{{- end -}}

{{/* Of what is not in a namespace: two releases of one name must not meet. */}}
{{- define "gatehouse.clusterName" -}}
{{ .Release.Namespace }}:{{ include "gatehouse.controller" . }}
{{- end -}}

{{- define "gatehouse.selector" -}}
app.kubernetes.io/name: gatehouse-controller
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "gatehouse.labels" -}}
{{ include "gatehouse.selector" . }}
{{ include "gatehouse.releaseLabels" . }}
{{- end -}}

{{/* Without what Services select by. */}}
{{- define "gatehouse.releaseLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: gatehouse
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "gatehouse.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "gatehouse.controller" .) .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end -}}
{{- end -}}

{{/* Takes a dict: image, chart. */}}
{{- define "gatehouse.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ default .chart.AppVersion .image.tag }}
{{- end -}}
{{- end -}}

{{- define "gatehouse.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "gatehouse.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* A container that ends well if a controller is ready. */}}
{{- define "gatehouse.probe" -}}
image: {{ include "gatehouse.image" (dict "image" .Values.image "chart" .Chart) }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args:
- probe
- http://{{ include "gatehouse.controller" . }}-metrics.{{ .Release.Namespace }}.svc:18080/readyz
securityContext:
  {{- include "gatehouse.securityContext" . | nindent 2 }}
{{- end -}}

{{/* The namespaces that are watched, with commas; empty: all. In the controller's own are the addresses of its replicas, and
the dataplanes that serve Ingresses. */}}
{{- define "gatehouse.namespaces" -}}
{{- with .Values.watchNamespaces }}
{{- append . $.Release.Namespace | uniq | sortAlpha | join "," }}
{{- end }}
{{- end -}}

{{/* The namespace of the GatewayConfig of both classes. */}}
{{- define "gatehouse.configNamespace" -}}
{{- $namespace := default .Release.Namespace .Values.gatewayConfig.namespace -}}
{{- $watched := compact (splitList "," (include "gatehouse.namespaces" .)) -}}
{{- if and $watched (not (has $namespace $watched)) -}}
{{- fail (printf "gatewayConfig.namespace: the controller can't read namespace %s; add it to watchNamespaces" $namespace) -}}
{{- end -}}
{{ $namespace }}
{{- end -}}
