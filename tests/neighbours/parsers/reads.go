// Says which tools a body calls, as programs in Go may read it. See reads.py for what goes in and out.
package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// Structs are matched in any case, and of several members the last wins.
type message struct {
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
}

type params struct {
	Name      any             `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
}

type callTool struct {
	ToolName   string         `json:"tool_name"`
	Parameters map[string]any `json:"parameters"`
	Name       any            `json:"name"`
}

func wholeBody(body []byte) (json.RawMessage, error) {
	var raw json.RawMessage
	err := json.Unmarshal(body, &raw)
	return raw, err
}

// A decoder stops after the first value.
func firstValue(body []byte) (json.RawMessage, error) {
	var raw json.RawMessage
	err := json.NewDecoder(bytes.NewReader(body)).Decode(&raw)
	return raw, err
}

// The optimizer's target. Arguments that do not decode are a call of nothing.
func inner(arguments json.RawMessage) (string, error) {
	var input callTool
	if arguments == nil {
		return "", nil
	}
	if err := json.Unmarshal(arguments, &input); err != nil || input.ToolName != "" {
		return input.ToolName, err
	}
	if nested, _ := input.Parameters["tool_name"].(string); nested != "" {
		return nested, nil
	}
	name, _ := input.Name.(string)
	return name, nil
}

func tool(raw json.RawMessage) (any, error) {
	var read params
	if json.Unmarshal(raw, &read) != nil {
		return nil, nil
	}
	name, ok := read.Name.(string)
	if !ok {
		return nil, nil
	}
	if name == "call_tool" {
		if target, err := inner(read.Arguments); err != nil || target != "" {
			return target, err
		}
	}
	return name, nil
}

func tools(read func([]byte) (json.RawMessage, error), body []byte) any {
	raw, err := read(body)
	if err != nil {
		return nil
	}
	var messages []json.RawMessage
	if json.Unmarshal(raw, &messages) != nil {
		messages = []json.RawMessage{raw}
	}
	called := []any{}
	for _, raw := range messages {
		var read message
		if json.Unmarshal(raw, &read) == nil && read.Method == "tools/call" {
			name, err := tool(read.Params)
			if err != nil {
				return nil
			}
			called = append(called, name)
		}
	}
	return called
}

func main() {
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		body, err := hex.DecodeString(strings.TrimSpace(line))
		if err != nil {
			panic(err)
		}
		readings, err := json.Marshal([]any{tools(wholeBody, body), tools(firstValue, body)})
		if err != nil {
			panic(err)
		}
		fmt.Println(string(readings))
	}
}
