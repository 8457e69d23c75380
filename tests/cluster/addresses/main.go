// Stands in for a cloud's load balancers: gives each Service of type LoadBalancer an address of a test range in
// status.loadBalancer.ingress, where kube-proxy takes it up: that of spec.loadBalancerIP, if it names one of the range. It
// forwards nothing itself.
//
// An address that a Service gives back is given out again only after all the others had their turn.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"time"
)

type service struct {
	Metadata struct {
		Namespace       string `json:"namespace"`
		Name            string `json:"name"`
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Spec struct {
		Type           string `json:"type"`
		LoadBalancerIP string `json:"loadBalancerIP"`
	} `json:"spec"`
	Status struct {
		LoadBalancer struct {
			Ingress []struct {
				IP string `json:"ip"`
			} `json:"ingress"`
		} `json:"loadBalancer"`
	} `json:"status"`
}

func (s *service) key() string { return s.Metadata.Namespace + "/" + s.Metadata.Name }

// client speaks to the API server as the holder of a client certificate.
type client struct {
	server string
	http   *http.Client
}

// refusal is an answer of the API server other than 200.
type refusal struct {
	status int
	words  string
}

func (r *refusal) Error() string { return r.words }

func main() {
	server := flag.String("server", "", "URL of the API server")
	ca := flag.String("ca", "", "its CA, PEM")
	cert := flag.String("cert", "", "client certificate, PEM")
	key := flag.String("key", "", "its key, PEM")
	flag.Parse()
	api, err := connect(*server, *ca, *cert, *key)
	if err != nil {
		log.Fatal(err)
	}
	addresses := &pool{}
	for {
		log.Print(api.follow(addresses))
		time.Sleep(100 * time.Millisecond)
	}
}

func connect(server, ca, cert, key string) (*client, error) {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", ca)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		TLSClientConfig:       &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}},
		ResponseHeaderTimeout: 10 * time.Second,
	}
	return &client{server: server, http: &http.Client{Transport: transport}}, nil
}

// follow lists the Services, then acts on each change until the watch ends. What is given out is read anew
// from the list each time, so there is nothing to lose.
func (c *client) follow(addresses *pool) error {
	var list struct {
		Metadata struct {
			ResourceVersion string `json:"resourceVersion"`
		} `json:"metadata"`
		Items []service `json:"items"`
	}
	body, err := c.call(http.MethodGet, "/api/v1/services", nil)
	if err != nil {
		return err
	}
	err = json.NewDecoder(body).Decode(&list)
	body.Close()
	if err != nil {
		return err
	}
	addresses.forget()
	for i := range list.Items {
		addresses.observe(&list.Items[i])
	}
	for i := range list.Items {
		if err := c.serve(addresses, &list.Items[i]); err != nil {
			return err
		}
	}

	// The server ends a watch in time; half-open connections end with it.
	watch := url.Values{"watch": {"1"}, "timeoutSeconds": {"300"}, "resourceVersion": {list.Metadata.ResourceVersion}}
	body, err = c.call(http.MethodGet, "/api/v1/services?"+watch.Encode(), nil)
	if err != nil {
		return err
	}
	defer body.Close()
	for events := json.NewDecoder(body); ; {
		var event struct {
			Type   string  `json:"type"`
			Object service `json:"object"`
		}
		if err := events.Decode(&event); err != nil {
			return fmt.Errorf("watch: %w", err)
		}
		switch event.Type {
		case "ADDED", "MODIFIED":
			if err := c.serve(addresses, &event.Object); err != nil {
				return err
			}
		case "DELETED":
			addresses.free(event.Object.key())
		default:
			return fmt.Errorf("watch: %s", event.Type)
		}
	}
}

// serve sees to it that the Service has an address exactly when its type asks for one.
func (c *client) serve(addresses *pool, s *service) error {
	if s.Spec.Type != "LoadBalancer" {
		// The API server drops the status when the type changes.
		addresses.free(s.key())
		return nil
	}
	ingress, wanted := s.Status.LoadBalancer.Ingress, s.Spec.LoadBalancerIP
	if len(ingress) > 0 && (wanted == "" || wanted == ingress[0].IP) {
		addresses.observe(s)
		return nil
	}
	var address, list string
	if wanted == "" {
		address = addresses.give(s.key())
	} else {
		address = addresses.claim(s.key(), wanted)
	}
	if address != "" {
		list = fmt.Sprintf(`{"ip":%q}`, address)
	} else {
		log.Printf("%s: no address is left, or not %q", s.key(), wanted)
		if len(ingress) == 0 {
			return nil
		}
	}
	patch := fmt.Sprintf(`{"status":{"loadBalancer":{"ingress":[%s]}}}`, list)
	path := "/api/v1/namespaces/" + s.Metadata.Namespace + "/services/" + s.Metadata.Name + "/status"
	body, err := c.call(http.MethodPatch, path, []byte(patch))
	var refused *refusal
	if errors.As(err, &refused) && refused.status == http.StatusNotFound {
		return nil // deleted meanwhile; the watch is about to say so
	}
	if err != nil {
		return err
	}
	log.Printf("%s: %s", s.key(), address)
	return body.Close()
}

func (c *client) call(method, path string, body []byte) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(context.Background(), method, c.server+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("content-type", "application/merge-patch+json")
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		defer response.Body.Close()
		words, _ := io.ReadAll(io.LimitReader(response.Body, 1000))
		return nil, &refusal{response.StatusCode, fmt.Sprintf("%s %s: %s: %s", method, path, response.Status, words)}
	}
	return response.Body, nil
}
