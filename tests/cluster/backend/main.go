// A backend that answers with what it saw, so that one sees what the gateway made of a request.
//
//	/healthz          200; 503 once it is told to leave
//	/resolve?host=H   the addresses of H as this pod's resolver knows them
//	anything else     service, pod, method, path, host and headers as JSON;
//	                  ?status=N answers with N, ?delay=D waits first (as 200ms)
//
// Environment: ADDRESS (default :3000), SERVICE, POD_NAME, LAME_DUCK (default 5s). On SIGTERM it serves on
// for LAME_DUCK, while its endpoint is withdrawn, then finishes what is in flight and ends.
package main

import (
	"context"
	"encoding/json"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

type seen struct {
	Service string            `json:"service"`
	Pod     string            `json:"pod"`
	Method  string            `json:"method"`
	Path    string            `json:"path"`
	Host    string            `json:"host"`
	Headers map[string]string `json:"headers"`
}

func main() {
	lameDuck, err := time.ParseDuration(env("LAME_DUCK", "5s"))
	if err != nil {
		log.Fatalf("LAME_DUCK: %v", err)
	}
	var leaving atomic.Bool
	http.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if leaving.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	http.HandleFunc("/resolve", resolve)
	http.HandleFunc("/", echo)
	server := &http.Server{Addr: env("ADDRESS", ":3000")}

	ended := make(chan struct{})
	go func() {
		told := make(chan os.Signal, 1)
		signal.Notify(told, syscall.SIGTERM, os.Interrupt)
		<-told
		leaving.Store(true)
		time.Sleep(lameDuck)
		// The kubelet's grace bounds this wait.
		if err := server.Shutdown(context.Background()); err != nil {
			log.Print(err)
		}
		close(ended)
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		log.Fatal(err)
	}
	<-ended
}

func echo(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	status := http.StatusOK
	if text := query.Get("status"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 200 || n > 599 {
			http.Error(w, "status must be 200 to 599", http.StatusBadRequest)
			return
		}
		status = n
	}
	if text := query.Get("delay"); text != "" {
		delay, err := time.ParseDuration(text)
		if err != nil {
			http.Error(w, "delay must be a duration, as 200ms", http.StatusBadRequest)
			return
		}
		select {
		case <-time.After(delay):
		case <-r.Context().Done():
			return
		}
	}
	headers := map[string]string{"host": r.Host}
	for name, values := range r.Header {
		headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	answer(w, status, seen{
		Service: os.Getenv("SERVICE"),
		Pod:     os.Getenv("POD_NAME"),
		Method:  r.Method,
		Path:    r.URL.RequestURI(),
		Host:    r.Host,
		Headers: headers,
	})
}

func resolve(w http.ResponseWriter, r *http.Request) {
	addresses, err := net.DefaultResolver.LookupHost(r.Context(), r.URL.Query().Get("host"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	answer(w, http.StatusOK, addresses)
}

func answer(w http.ResponseWriter, status int, value any) {
	w.Header().Set("content-type", "application/json")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	// A client that breaks off is none of the backend's business.
	_ = encoder.Encode(value)
}

func env(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}
