// A proxy in Go that limits calls as ToolHive's proxies do: each body is read whole and decoded as JSON, each call is one EVALSHA, and what is
// allowed passes through net/http/httputil.
//
//	rival -upstream URL -redis HOST:PORT -script FILE -server NAMESPACE:NAME -tool NAME
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"

	"github.com/redis/go-redis/v9"
)

const (
	capacity        = 1<<31 - 1
	tokensPerSecond = float64(capacity) / (24 * 60 * 60)
	secondsToLive   = 2 * 24 * 60 * 60
	largestBody     = 4 << 20
)

// message is what a proxy must know of a JSON-RPC message.
type message struct {
	ID     any             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
}

// limiter holds two buckets: of all calls, and of all calls of one tool.
type limiter struct {
	client *redis.Client
	script *redis.Script
	all    string
	tool   string
	limits map[string]bool
}

// allows takes a token from each bucket that counts the call, or from none; it returns the milliseconds to wait.
func (l *limiter) allows(ctx context.Context, tool string) (bool, int64, error) {
	keys := []string{l.all}
	if l.limits[tool] {
		keys = append(keys, l.tool+tool)
	}
	var args []any
	for range keys {
		args = append(args, capacity, tokensPerSecond, secondsToLive)
	}
	answer, err := l.script.EvalSha(ctx, l.client, keys, args...).Int64Slice()
	if err != nil || len(answer) != 3 {
		return false, 0, fmt.Errorf("deciding a call: %v, %w", answer, err)
	}
	return answer[0] == 1, answer[2], nil
}

// limited is a handler in front of another: it answers calls that are denied, and passes on all else.
func (l *limiter) limited(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			next.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, largestBody))
		if err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		var asked message
		if err := json.Unmarshal(body, &asked); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if asked.Method == "tools/call" {
			var params map[string]any
			if err := json.Unmarshal(asked.Params, &params); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			tool, _ := params["name"].(string)
			allowed, waitMs, err := l.allows(r.Context(), tool)
			if err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
			if !allowed {
				deny(w, asked.ID, waitMs)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

func deny(w http.ResponseWriter, id any, waitMs int64) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Retry-After", strconv.FormatInt((waitMs+999)/1000, 10))
	w.WriteHeader(http.StatusTooManyRequests)
	fault := map[string]any{"code": -32029, "message": "rate limit exceeded"}
	// The connection's end is the client's business.
	_ = json.NewEncoder(w).Encode(map[string]any{"jsonrpc": "2.0", "id": id, "error": fault})
}

func run() error {
	upstream := flag.String("upstream", "", "where calls go")
	address := flag.String("redis", "", "where buckets are")
	script := flag.String("script", "", "the file that decides a call in Redis")
	server := flag.String("server", "", "NAMESPACE:NAME, in the keys of buckets")
	tool := flag.String("tool", "", "the tool that has a limit of its own")
	flag.Parse()

	target, err := url.Parse(*upstream)
	if err != nil {
		return err
	}
	source, err := os.ReadFile(*script)
	if err != nil {
		return err
	}
	all := fmt.Sprintf("thv:rl:{%s}:shared", *server)
	limits := &limiter{
		client: redis.NewClient(&redis.Options{Addr: *address}),
		script: redis.NewScript(string(source)),
		all:    all,
		tool:   all + ":tool:",
		limits: map[string]bool{*tool: true},
	}
	if err := limits.script.Load(context.Background(), limits.client).Err(); err != nil {
		return err
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.SetXForwarded()
		},
		FlushInterval: -1,
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("calls are limited at http://%s/\n", listener.Addr())
	return http.Serve(listener, limits.limited(proxy))
}

func main() {
	log.SetFlags(0)
	log.Fatal(run())
}
