module gatehouse.dev/tests/cluster/addresses

go 1.21
