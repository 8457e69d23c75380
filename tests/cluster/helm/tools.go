//go:build tools

// Package helm pins the chart tool.
package helm

import _ "helm.sh/helm/v3/cmd/helm"
