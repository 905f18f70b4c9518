package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// identity is what tells one object from another.
type identity struct{ APIVersion, Kind, Name string }

// kubernetes decodes each document as the API server would with strict validation of fields, and
// checks the names in it that have a form.
func kubernetes(input []byte) (any, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		appsv1.AddToScheme, autoscalingv2.AddToScheme, batchv1.AddToScheme, corev1.AddToScheme,
		networkingv1.AddToScheme, policyv1.AddToScheme, monitoringv1.AddToScheme,
	} {
		utilruntime.Must(add(scheme))
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(input)))
	decoded := []identity{}
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return decoded, nil
		}
		if err != nil {
			return nil, err
		}
		if empty(document) {
			continue
		}
		object, kind, err := decoder.Decode(document, nil, nil)
		if err != nil {
			return nil, fmt.Errorf("%w in\n%s", err, document)
		}
		accessor, err := meta.Accessor(object)
		if err != nil {
			return nil, err
		}
		if err := errors.Join(metadataOf(accessor), contentOf(object)); err != nil {
			return nil, fmt.Errorf("%s %s: %w", kind.Kind, accessor.GetName(), err)
		}
		decoded = append(decoded, identity{kind.GroupVersion().String(), kind.Kind, accessor.GetName()})
	}
}

// empty tells whether a document has nothing but comments.
func empty(document []byte) bool {
	for line := range strings.Lines(string(document)) {
		line = strings.TrimSpace(line)
		if line != "" && line != "---" && !strings.HasPrefix(line, "#") {
			return false
		}
	}
	return true
}

func metadataOf(object metav1.Object) error {
	return errors.Join(
		form("name", object.GetName(), validation.IsDNS1123Subdomain),
		labelsOf(object.GetLabels()),
		keys("annotation", object.GetAnnotations()),
	)
}

func labelsOf(labels map[string]string) error {
	err := keys("label", labels)
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		err = errors.Join(err, form("label "+key, labels[key], validation.IsValidLabelValue))
	}
	return err
}

func keys(what string, m map[string]string) (err error) {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		err = errors.Join(err, form(what, key, validation.IsQualifiedName))
	}
	return err
}

// contentOf checks what the types leave open: names of ports and of variables, and labels of pods.
func contentOf(object runtime.Object) error {
	switch o := object.(type) {
	case *appsv1.Deployment:
		return podOf(o.Spec.Template)
	case *batchv1.Job:
		return podOf(o.Spec.Template)
	case *corev1.Service:
		err := form("name", o.Name, validation.IsDNS1035Label)
		for _, port := range o.Spec.Ports {
			err = errors.Join(err, form("port", port.Name, validation.IsDNS1123Label))
		}
		return err
	}
	return nil
}

func podOf(template corev1.PodTemplateSpec) error {
	err := labelsOf(template.Labels)
	for _, container := range template.Spec.Containers {
		set := map[string]bool{}
		for _, variable := range container.Env {
			err = errors.Join(err, form("variable", variable.Name, validation.IsEnvVarName))
			if set[variable.Name] {
				err = errors.Join(err, fmt.Errorf("variable %s is set twice", variable.Name))
			}
			set[variable.Name] = true
		}
		ports := map[int32]bool{}
		for _, port := range container.Ports {
			err = errors.Join(err, form("port", port.Name, validation.IsValidPortName))
			if ports[port.ContainerPort] {
				err = errors.Join(err, fmt.Errorf("port %d is there twice", port.ContainerPort))
			}
			ports[port.ContainerPort] = true
		}
	}
	return err
}

// form returns what is wrong with the form of a name.
func form(what, value string, check func(string) []string) error {
	if wrong := check(value); len(wrong) > 0 {
		return fmt.Errorf("%s %q: %s", what, value, strings.Join(wrong, "; "))
	}
	return nil
}
