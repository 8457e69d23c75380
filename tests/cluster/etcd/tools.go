//go:build tools

// Package etcd pins the store.
package etcd

import _ "go.etcd.io/etcd/server/v3"
