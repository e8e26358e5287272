{{- define "tollgate.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* At most 45 characters, so that -validate, -metrics and the like still fit. */}}
{{- define "tollgate.fullname" -}}
{{- $name := include "tollgate.name" . }}
{{- $joined := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- default $joined .Values.fullnameOverride | trunc 45 | trimSuffix "-" }}
{{- end }}

{{- define "tollgate.selectorLabels" -}}
app.kubernetes.io/name: {{ include "tollgate.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tollgate.labels" -}}
{{ include "tollgate.selectorLabels" . }}
app.kubernetes.io/part-of: tollgate
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "tollgate.admissionSelector" -}}
{{ include "tollgate.selectorLabels" . }}
app.kubernetes.io/component: admission
{{- end }}

{{- define "tollgate.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "tollgate.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name is needed with serviceAccount.create=false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "tollgate.image" -}}
{{- $global := .Values.global | default dict }}
{{- $registry := $global.imageRegistry | default .Values.image.registry }}
{{- $repository := required "image.repository is needed: no image is published, so build one (docs/webhook.md) and name it" .Values.image.repository }}
{{- if $registry }}{{ $registry }}/{{ end }}{{ $repository }}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- /* Entries of global are names, or {name: ...} as in pods. */}}
{{- define "tollgate.imagePullSecrets" -}}
{{- $global := .Values.global | default dict }}
{{- $names := list }}
{{- range concat .Values.imagePullSecrets ($global.imagePullSecrets | default list) }}
{{- $names = append $names (ternary . (get (ternary dict . (kindIs "string" .)) "name") (kindIs "string" .)) }}
{{- end }}
{{- with $names | uniq }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{- define "tollgate.podSecurityContext" -}}
{{- $has := .Capabilities.APIVersions.Has "security.openshift.io/v1" }}
{{- if or (eq .Values.platform "openshift") (and (eq .Values.platform "auto") $has) }}
{{- omit .Values.podSecurityContext "runAsUser" "runAsGroup" "fsGroup" | toYaml }}
{{- else }}
{{- toYaml .Values.podSecurityContext }}
{{- end }}
{{- end }}

{{- define "tollgate.secretName" -}}
{{- $default := printf "%s-%s" (include "tollgate.fullname" .) (ternary "certs" "tls" (eq .Values.certs.mode "self")) }}
{{- default $default .Values.certs.secretName }}
{{- end }}

{{- /* One webhook's namespaceSelector. */}}
{{- define "tollgate.namespaceSelector" -}}
matchExpressions:
  - key: kubernetes.io/metadata.name
    operator: NotIn
    values:
    {{- range prepend .Values.webhook.excludedNamespaces .Release.Namespace | uniq }}
      - {{ . }}
    {{- end }}
  {{- with .Values.webhook.namespaceSelector.matchExpressions }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.webhook.namespaceSelector.matchLabels }}
matchLabels:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Annotations of both configurations. */}}
{{- define "tollgate.webhookAnnotations" -}}
{{- $annotations := deepCopy .Values.webhook.annotations }}
{{- if eq .Values.certs.mode "cert-manager" }}
{{- $_ := set $annotations "cert-manager.io/inject-ca-from" (printf "%s/%s-tls" .Release.Namespace (include "tollgate.fullname" .)) }}
{{- end }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Where the API server calls one webhook. Arguments: the root, the path. caBundle only where the chart is what sets it: a rendered one
would undo at every upgrade what was written since. */}}
{{- define "tollgate.clientConfig" -}}
{{- $root := index . 0 -}}
{{- if eq $root.Values.certs.mode "own" -}}
caBundle: {{ required "certs.own.caBundle is needed with certs.mode=own: --set-file certs.own.caBundle=ca.crt" $root.Values.certs.own.caBundle | b64enc }}
{{ end -}}
service:
  name: {{ include "tollgate.fullname" $root }}
  namespace: {{ $root.Release.Namespace }}
  path: {{ index . 1 }}
  port: 443
{{- end }}

{{- /* What is checked, and when. */}}
{{- define "tollgate.rules" -}}
- apiGroups: [toolhive.stacklok.dev]
  apiVersions: [v1beta1, v1alpha1]
  resources: [mcpservers, virtualmcpservers]
  operations: [CREATE, UPDATE]
  scope: Namespaced
{{- end }}

{{- define "tollgate.hasRateLimiting" -}}
- name: has-rate-limiting
  expression: >-
    [object, oldObject].exists(o, o != null && has(o.spec) &&
    (has(o.spec.rateLimiting) || (has(o.spec.config) && has(o.spec.config.rateLimiting))))
{{- end }}

{{- /* Of a monitor: the values of serviceMonitor or podMonitor. */}}
{{- define "tollgate.endpoint" -}}
- port: metrics
  {{- with .interval }}
  interval: {{ . }}
  {{- end }}
  {{- with .scrapeTimeout }}
  scrapeTimeout: {{ . }}
  {{- end }}
  {{- with .relabelings }}
  relabelings:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .metricRelabelings }}
  metricRelabelings:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- /* Probes, the same for both kinds of pods. */}}
{{- define "tollgate.startupProbe" -}}
startupProbe:
  httpGet:
    path: /healthz
    port: metrics
  periodSeconds: 1
  failureThreshold: 30
{{- end }}
