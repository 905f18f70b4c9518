{{- define "wadi.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /* Short enough for the suffixes that Services, Secrets and the like add. */ -}}
{{- define "wadi.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 45 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "wadi.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 45 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 45 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "wadi.selectorLabels" -}}
app.kubernetes.io/name: {{ include "wadi.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- /* The pods that migrate are no agents: no Service leads to them. */ -}}
{{- define "wadi.migrateName" -}}
{{- printf "%s-migrate" (include "wadi.name" . | trunc 55 | trimSuffix "-") -}}
{{- end -}}

{{- /* What all agents of a cluster have, whatever their release. */ -}}
{{- define "wadi.clusterLabels" -}}
app.kubernetes.io/name: {{ include "wadi.name" . }}
app.kubernetes.io/part-of: {{ .Values.cluster }}
{{- end -}}

{{- define "wadi.labels" -}}
{{ include "wadi.selectorLabels" . }}
app.kubernetes.io/part-of: {{ .Values.cluster }}
{{- with .Values.image.tag }}
app.kubernetes.io/version: {{ . | quote }}
{{- end }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "wadi.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "wadi.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "wadi.image" -}}
{{- $repository := required "image.repository: say where you pushed the image of deploy/Dockerfile to" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (required "image.tag: name one, or a digest" .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "wadi.metadataSecret" -}}
{{- if .Values.metadata.existingSecret.name -}}
{{- .Values.metadata.existingSecret.name -}}
{{- else -}}
{{- printf "%s-stores" (include "wadi.fullname" .) -}}
{{- end -}}
{{- end -}}

{{- define "wadi.objectsSecret" -}}
{{- if .Values.objects.existingSecret.name -}}
{{- .Values.objects.existingSecret.name -}}
{{- else -}}
{{- printf "%s-stores" (include "wadi.fullname" .) -}}
{{- end -}}
{{- end -}}

{{- /* NAME://host:port of the Kafka listener; PLAINTEXT is what an address without a name is called. */ -}}
{{- define "wadi.named" -}}
{{- if eq .name "PLAINTEXT" -}}{{ .address }}{{- else -}}{{ printf "%s://%s" .name .address }}{{- end -}}
{{- end -}}

{{- /* A port of the pod's own address, which the kubelet puts in for $(POD_IP). */ -}}
{{- define "wadi.podAddress" -}}
{{- if eq .root.Values.podIPFamily "IPv6" -}}{{ printf "[$(POD_IP)]:%d" (int .port) }}{{- else -}}{{ printf "$(POD_IP):%d" (int .port) }}{{- end -}}
{{- end -}}

{{- /* The listeners as JSON, without those set to null, and with defaults for what the values leave out. */ -}}
{{- define "wadi.listeners" -}}
{{- $all := dict -}}
{{- range $name, $listener := .Values.listeners -}}
{{- if $listener -}}
{{- $policy := ternary "Local" "Cluster" (eq (get $listener "type") "LoadBalancer") -}}
{{- $defaults := dict "mode" "balancer" "type" "ClusterIP" "externalTrafficPolicy" $policy -}}
{{- $_ := set $all $name (merge (deepCopy $listener) $defaults) -}}
{{- end -}}
{{- end -}}
{{- toJson $all -}}
{{- end -}}

{{- /* An agent can't listen twice on one port, and would say so only when it starts. */ -}}
{{- define "wadi.checkPorts" -}}
{{- $taken := dict (toString .Values.http.port) "http" -}}
{{- $ports := dict -}}
{{- if .Values.peer.enabled -}}
{{- $_ := set $ports "peer" .Values.peer.port -}}
{{- end -}}
{{- range $name, $listener := include "wadi.listeners" . | fromJson -}}
{{- $_ := set $ports (printf "listeners.%s" $name) $listener.port -}}
{{- end -}}
{{- range $name, $port := $ports -}}
{{- with get $taken (toString $port) -}}
{{- fail (printf "%s.port: %v is that of %s as well" $name $port .) -}}
{{- end -}}
{{- $_ := set $taken (toString $port) $name -}}
{{- end -}}
{{- end -}}

{{- define "wadi.kafkaListen" -}}
{{- $addresses := list -}}
{{- range $name, $listener := include "wadi.listeners" . | fromJson -}}
{{- $addresses = append $addresses (include "wadi.named" (dict "name" $name "address" (printf ":%d" (int $listener.port)))) -}}
{{- end -}}
{{- join "," $addresses -}}
{{- end -}}

{{- define "wadi.advertise" -}}
{{- $root := . -}}
{{- $addresses := list -}}
{{- range $name, $listener := include "wadi.listeners" . | fromJson -}}
{{- $address := include "wadi.podAddress" (dict "root" $root "port" $listener.port) -}}
{{- if eq $listener.mode "balancer" -}}
{{- $address = include "wadi.balancer" (dict "root" $root "name" $name "listener" $listener) -}}
{{- else if $listener.advertise -}}
{{- fail (printf "listeners.%s.advertise: agents of mode direct advertise their own addresses; take it away, or set the mode to balancer" $name) -}}
{{- end -}}
{{- $addresses = append $addresses (include "wadi.named" (dict "name" $name "address" $address)) -}}
{{- end -}}
{{- join "," $addresses -}}
{{- end -}}

{{- /* The address in front of all agents. */ -}}
{{- define "wadi.balancer" -}}
{{- if .listener.advertise -}}
{{- .listener.advertise -}}
{{- else if ne .listener.type "ClusterIP" -}}
{{- required (printf "listeners.%s.advertise: name the host and port at which clients reach the %s Service, which can't be known beforehand" .name .listener.type) .listener.advertise -}}
{{- else -}}
{{- printf "%s.%s.svc:%d" (include "wadi.fullname" .root) .root.Release.Namespace (int .listener.port) -}}
{{- end -}}
{{- end -}}

{{- define "wadi.zoneListeners" -}}
{{- $zones := list -}}
{{- range $name, $listener := include "wadi.listeners" . | fromJson -}}
{{- with $listener.zone -}}
{{- $zones = append $zones (printf "%s=%s" $name .) -}}
{{- end -}}
{{- end -}}
{{- join "," $zones -}}
{{- end -}}

{{- /* The stores, which the agent and its migration share. */ -}}
{{- define "wadi.storesEnv" -}}
- name: WADI_METADATA
  valueFrom:
    secretKeyRef:
      name: {{ include "wadi.metadataSecret" . }}
      key: {{ ternary .Values.metadata.existingSecret.key "metadata-url" (ne .Values.metadata.existingSecret.name "") }}
- name: WADI_OBJECTS
  value: {{ required "objects.url: name the object store, as in s3://bucket/prefix?region=eu-central-1" .Values.objects.url | quote }}
{{- if or .Values.objects.existingSecret.name .Values.objects.accessKey }}
- name: WADI_OBJECTS_ACCESS_KEY
  valueFrom:
    secretKeyRef:
      name: {{ include "wadi.objectsSecret" . }}
      key: {{ ternary .Values.objects.existingSecret.accessKeyKey "access-key" (ne .Values.objects.existingSecret.name "") }}
- name: WADI_OBJECTS_SECRET_KEY
  valueFrom:
    secretKeyRef:
      name: {{ include "wadi.objectsSecret" . }}
      key: {{ ternary .Values.objects.existingSecret.secretKeyKey "secret-key" (ne .Values.objects.existingSecret.name "") }}
{{- end }}
{{- end -}}

{{- /* What a pod may do: nothing but use the network. */ -}}
{{- define "wadi.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "wadi.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}
