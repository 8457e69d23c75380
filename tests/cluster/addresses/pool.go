package main

import "fmt"

// The range: 172.31.254.1 to 172.31.254.254. The last four are only for those who ask for them.
const (
	size  = 254
	count = 250
)

// pool knows which Service holds which address.
type pool struct {
	owner [size]string
	held  map[string]int
	next  int
}

// forget drops who holds what, but not whose turn it is.
func (p *pool) forget() { *p = pool{held: map[string]int{}, next: p.next} }

func address(i int) string { return fmt.Sprintf("172.31.254.%d", i+1) }

// give returns the address of the Service: the one it holds, or the next free one. Empty: none is free.
func (p *pool) give(key string) string {
	if i, ok := p.held[key]; ok {
		return address(i)
	}
	for n := 0; n < count; n++ {
		i := (p.next + n) % count
		if p.owner[i] == "" {
			p.owner[i], p.held[key], p.next = key, i, i+1
			return address(i)
		}
	}
	return ""
}

// claim gives the Service this address in place of what it held. Empty: it is not of the range, or not free.
func (p *pool) claim(key, wanted string) string {
	p.free(key)
	for i := 0; i < size; i++ {
		if wanted == address(i) && p.owner[i] == "" {
			p.owner[i], p.held[key] = key, i
			return wanted
		}
	}
	return ""
}

// observe takes note of an address of the range that the Service has already.
func (p *pool) observe(s *service) {
	if s.Spec.Type != "LoadBalancer" {
		return
	}
	for _, ingress := range s.Status.LoadBalancer.Ingress {
		p.claim(s.key(), ingress.IP)
	}
}

func (p *pool) free(key string) {
	if i, ok := p.held[key]; ok {
		p.owner[i] = ""
		delete(p.held, key)
	}
}
