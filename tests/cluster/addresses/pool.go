package main

import "fmt"

// The range: 172.31.254.1 to 172.31.254.250.
const count = 250

// pool knows which Service holds which address.
type pool struct {
	owner [count]string
	held  map[string]int
	next  int
}

// forget drops who holds what, but not whose turn it is.
func (p *pool) forget() { *p = pool{held: map[string]int{}, next: p.next} }

func address(i int) string { return fmt.Sprintf("172.31.254.%d", i+1) }

// give returns the address of the Service: the one it holds, or the next free one. False: none is free.
func (p *pool) give(key string) (string, bool) {
	if i, ok := p.held[key]; ok {
		return address(i), true
	}
	for n := 0; n < count; n++ {
		i := (p.next + n) % count
		if p.owner[i] == "" {
			p.owner[i], p.held[key], p.next = key, i, i+1
			return address(i), true
		}
	}
	return "", false
}

// observe takes note of an address of the range that the Service has already.
func (p *pool) observe(s *service) {
	if s.Spec.Type != "LoadBalancer" {
		return
	}
	for _, ingress := range s.Status.LoadBalancer.Ingress {
		for i := 0; i < count; i++ {
			if ingress.IP == address(i) && p.owner[i] == "" {
				p.free(s.key())
				p.owner[i], p.held[s.key()] = s.key(), i
			}
		}
	}
}

func (p *pool) free(key string) {
	if i, ok := p.held[key]; ok {
		p.owner[i] = ""
		delete(p.held, key)
	}
}
