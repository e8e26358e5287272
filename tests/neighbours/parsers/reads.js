// Says which tools a body calls, as programs in JavaScript may read it. See reads.py for what goes in and out.
'use strict';

const readline = require('node:readline');

const parsed = (body) => JSON.parse(body.toString('utf8'));

// What becomes of a message that is copied member by member, as Object.assign does: __proto__ then sets the prototype.
const copied = (value) => {
  if (Array.isArray(value)) return value.map(copied);
  if (value === null || typeof value !== 'object') return value;
  const copy = Object.assign({}, value);
  for (const name of Object.keys(copy)) copy[name] = copied(copy[name]);
  return copy;
};

const readers = [parsed, (body) => JSON.parse(new TextDecoder().decode(body)), (body) => copied(parsed(body))];

const member = (value, name) => (value !== null && typeof value === 'object' ? value[name] : undefined);
const named = (value, name) => (typeof member(value, name) === 'string' ? member(value, name) : '');

const tool = (params) => {
  const name = member(params, 'name');
  if (typeof name !== 'string') return null;
  if (name !== 'call_tool') return name.toWellFormed();
  const args = member(params, 'arguments');
  const inner = named(args, 'tool_name') || named(member(args, 'parameters'), 'tool_name');
  return (inner || named(args, 'name') || name).toWellFormed();
};

const reading = (reader, body) => {
  try {
    const read = reader(body);
    return (Array.isArray(read) ? read : [read])
      .filter((message) => member(message, 'method') === 'tools/call')
      .map((message) => tool(member(message, 'params')));
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof RangeError) return null;
    throw error;
  }
};

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const body = Buffer.from(line, 'hex');
  process.stdout.write(`${JSON.stringify(readers.map((reader) => reading(reader, body)))}\n`);
});
