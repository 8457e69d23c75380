//go:build tools

// Package coredns pins the cluster's DNS.
package coredns

import _ "github.com/coredns/coredns"
