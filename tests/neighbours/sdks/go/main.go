// A client on the Go SDK: client URL. See ../README.md.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"regexp"
	"strconv"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

const patience = 5 * time.Second

type report struct {
	Revision string   `json:"revision"`
	Tools    []string `json:"tools"`
	Calls    int      `json:"calls"`
	Error    *string  `json:"error"`
	Wait     *float64 `json:"wait"`
	Place    *string  `json:"place"`
	Alive    bool     `json:"alive"`
	Again    bool     `json:"again"`
}

var waits = regexp.MustCompile(`(?:retryAfterSeconds\\*"\s*:\s*|Try again in )([0-9.]*[0-9])`)

func (r *report) denied(what, place, text string, wait *float64) {
	if found := waits.FindStringSubmatch(text); wait == nil && found != nil {
		if seconds, err := strconv.ParseFloat(found[1], 64); err == nil {
			wait = &seconds
		}
	}
	r.Error, r.Wait = &what, wait
	if wait != nil {
		r.Place = &place
	}
}

func (r *report) failed(err error) {
	var wire *jsonrpc.Error
	if !errors.As(err, &wire) {
		r.denied(err.Error(), "text", err.Error(), nil)
		return
	}
	var data struct {
		RetryAfterSeconds *float64 `json:"retryAfterSeconds"`
	}
	// No data is what the report says then.
	_ = json.Unmarshal(wire.Data, &data)
	r.denied(fmt.Sprintf("jsonrpc.Error %d", wire.Code), "data", wire.Message, data.RetryAfterSeconds)
}

func tools(session *mcp.ClientSession) ([]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	listed, err := session.ListTools(ctx, nil)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, tool := range listed.Tools {
		names = append(names, tool.Name)
	}
	return names, nil
}

func call(session *mcp.ClientSession) (*mcp.CallToolResult, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return session.CallTool(ctx, &mcp.CallToolParams{Name: "search", Arguments: map[string]any{"q": "rust"}})
}

func run(session *mcp.ClientSession) (r report, err error) {
	r.Revision = session.InitializeResult().ProtocolVersion
	if r.Tools, err = tools(session); err != nil {
		return r, err
	}
	for r.Calls < 5 && r.Error == nil {
		result, err := call(session)
		switch {
		case err != nil:
			r.failed(err)
		case result.IsError:
			text, _ := json.Marshal(result.Content)
			r.denied("tool result with isError", "result", string(text), nil)
		default:
			r.Calls++
		}
	}
	_, err = tools(session)
	r.Alive = err == nil
	wait := 2.5
	if r.Wait != nil {
		wait = *r.Wait
	}
	time.Sleep(time.Duration(wait * float64(time.Second)))
	result, err := call(session)
	r.Again = err == nil && !result.IsError
	return r, nil
}

func main() {
	client := mcp.NewClient(&mcp.Implementation{Name: "neighbour", Version: "1"}, nil)
	session, err := client.Connect(context.Background(), &mcp.StreamableClientTransport{Endpoint: os.Args[1]}, nil)
	if err != nil {
		log.Fatal(err)
	}
	said, err := run(session)
	if err != nil {
		log.Fatal(err)
	}
	line, err := json.Marshal(said)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(line))
}
