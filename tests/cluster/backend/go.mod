module gatehouse.dev/tests/cluster/backend

go 1.21
