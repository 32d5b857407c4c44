'use strict';
// Runs operations of GraphQL and shows what comes. Text is set as text, never as HTML. What a person types stays in this
// tab: it is kept in sessionStorage, the token too.

const URL_PATH = '/graphql';
const PROTOCOL = 'graphql-transport-ws';
const KEPT = 'shopctl.graphql.';
const HISTORY_MAX = 30;
// Answers of a subscription that are shown.
const SHOWN_MAX = 200;
const TIMEOUT_MS = 30000;

const EXAMPLES = [
  ['Last events', `query {
  lastEvents(limit: 5) {
    id
    userId
    eventType
    amount
    timestamp
  }
}`],
  ['Metrics', `query {
  aggregatedMetrics(minutes: 1) {
    totalAmount
    eventCount
    timeWindow
  }
}`],
  ['Live events', `subscription {
  eventStream {
    id
    userId
    eventType
    amount
    timestamp
  }
}`],
  ['Send an event', `mutation Send($event: EventInput!) {
  sendEvent(event: $event) {
    id
    duplicate
    status
  }
}`, `{
  "event": {
    "userId": "user123",
    "eventType": "purchase",
    "amount": 150.75,
    "timestamp": "2024-01-15T10:30:00Z"
  }
}`],
];

const INTROSPECTION = `query Introspection {
  __schema {
    queryType { name } mutationType { name } subscriptionType { name }
    types {
      kind name description
      fields(includeDeprecated: true) { name description args { ...Input } type { ...Type } }
      inputFields { ...Input }
      enumValues(includeDeprecated: true) { name description }
    }
  }
}
fragment Input on __InputValue { name description defaultValue type { ...Type } }
fragment Type on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }`;

const at = (id) => document.getElementById(id);
const query = at('query');
const variables = at('variables');
const token = at('token');
let running = null;

function element(name, text, more) {
  return Object.assign(document.createElement(name), text === undefined ? {} : { textContent: text }, more);
}

function recall(name) {
  try { return sessionStorage.getItem(KEPT + name); } catch { return null; }
}

function keep(name, value) {
  try { sessionStorage.setItem(KEPT + name, value); } catch { /* storage is off: nothing is kept */ }
}

function say(text, isBad = false) {
  at('state').textContent = text;
  at('state').className = isBad ? 'bad' : '';
}

function show(value) {
  at('result').textContent = typeof value === 'string' ? value : JSON.stringify(value, null, 2);
}

function readVariables() {
  const text = variables.value.trim();
  if (text === '') return {};
  const value = JSON.parse(text);
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw new Error('must be an object');
  return value;
}

function bearer() {
  const text = token.value.trim();
  return text === '' ? {} : { authorization: `Bearer ${text}` };
}

// The document without comments and texts, so that words in them mean nothing.
function bare(text) {
  return text.replace(/"""[\s\S]*?"""|"(?:\\.|[^"\\\n])*"|#[^\n]*/g, ' ');
}

// The operations of a document, by what it says outside of all brackets.
function operations(text) {
  const found = [];
  let depth = 0;
  for (const [part] of bare(text).matchAll(/[{}()[\]]|[A-Za-z_]\w*(?:\s+[A-Za-z_]\w*)?/g)) {
    if ('{(['.includes(part)) {
      if (part === '{' && depth === 0 && !found.isOpen) found.push({ kind: 'query' });
      found.isOpen = false;
      if (part === '(') found.isOpen = depth === 0;
      depth += 1;
    } else if ('})]'.includes(part)) {
      depth -= 1;
      if (part === ')' && depth === 0) found.isOpen = true;
    } else if (depth === 0) {
      const [kind, name] = part.split(/\s+/);
      if (['query', 'mutation', 'subscription'].includes(kind)) found.push({ kind, name });
      found.isOpen = true;
    }
  }
  return found;
}

async function post(body) {
  const response = await fetch(URL_PATH, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json', ...bearer() },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  return { status: response.status, answer: await response.json() };
}

async function once(body) {
  const begun = performance.now();
  try {
    const { status, answer } = await post(body);
    show(answer);
    const isBad = status >= 400 || answer.errors !== undefined;
    say(`${status} in ${Math.round(performance.now() - begun)} ms${isBad ? ', with errors' : ''}`, isBad);
  } catch (error) {
    show('');
    say(`no answer: ${error.message}`, true);
  }
}

function stop(text, isBad = false) {
  if (running === null) return;
  const socket = running;
  running = null;
  at('stop').disabled = true;
  socket.close(1000);
  say(text, isBad);
}

function subscribe(body) {
  const socket = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}${URL_PATH}`, PROTOCOL);
  let count = 0;
  running = socket;
  at('stop').disabled = false;
  at('events').replaceChildren();
  show('');
  say('connecting…');
  const send = (message) => socket.send(JSON.stringify(message));
  socket.onopen = () => send({ type: 'connection_init', payload: bearer() });
  socket.onmessage = ({ data }) => {
    if (running !== socket) return;
    const message = JSON.parse(data);
    if (message.type === 'connection_ack') {
      send({ type: 'subscribe', id: '1', payload: body });
      say('listening; nothing has come yet');
    } else if (message.type === 'ping') {
      send({ type: 'pong' });
    } else if (message.type === 'next') {
      count += 1;
      const item = element('li');
      item.append(element('pre', JSON.stringify(message.payload, null, 2)));
      at('events').prepend(item);
      if (at('events').children.length > SHOWN_MAX) at('events').lastChild.remove();
      say(`listening; ${count} came`);
    } else if (message.type === 'error') {
      show({ errors: message.payload });
      stop('refused', true);
    } else if (message.type === 'complete') {
      stop(`ended after ${count}`);
    }
  };
  socket.onclose = ({ code, reason }) => {
    if (running === socket) stop(`closed: ${reason || code}; ${count} came`, true);
  };
}

function run() {
  stop('stopped');
  const body = { query: query.value };
  try {
    body.variables = readVariables();
  } catch (error) {
    say(`the variables are no JSON: ${error.message}`, true);
    variables.focus();
    return;
  }
  const all = operations(query.value);
  // Of several operations the one at or before the cursor is meant.
  const before = operations(query.value.slice(0, query.selectionStart));
  const chosen = all.length > 1 ? all[Math.max(0, before.length - 1)] : all[0];
  if (all.length > 1 && chosen.name !== undefined) body.operationName = chosen.name;
  remember();
  if (chosen?.kind === 'subscription') return subscribe(body);
  at('events').replaceChildren();
  say('running…');
  once(body);
}

function history() {
  try { return JSON.parse(recall('history') ?? '[]'); } catch { return []; }
}

function remember() {
  const entry = { query: query.value, variables: variables.value };
  const others = history().filter((known) => known.query !== entry.query || known.variables !== entry.variables);
  keep('history', JSON.stringify([entry, ...others].slice(0, HISTORY_MAX)));
  showHistory();
}

function put(text, values) {
  query.value = text;
  variables.value = values ?? '';
  keep('query', text);
  keep('variables', variables.value);
}

function showHistory() {
  at('history').replaceChildren(...history().map((entry) => {
    const item = element('li');
    item.append(element('button', entry.query.replace(/\s+/g, ' ').slice(0, 200), { type: 'button', onclick: () => put(entry.query, entry.variables) }));
    return item;
  }));
}

// Puts a text at the cursor; the browser's undo knows it where it can.
function insert(text) {
  query.focus();
  if (!document.execCommand('insertText', false, text)) query.setRangeText(text, query.selectionStart, query.selectionEnd, 'end');
  keep('query', query.value);
}

// Whether Tab leaves the field once: after Esc.
let leaves = false;

function key(event) {
  if (event.key === 'Escape') { leaves = true; return; }
  if (event.key !== 'Tab' || event.ctrlKey || event.altKey || event.metaKey) { leaves = event.key === 'Shift' && leaves; return; }
  if (leaves) { leaves = false; return; }
  event.preventDefault();
  if (!event.shiftKey) { insert('  '); return; }
  const begin = query.value.lastIndexOf('\n', query.selectionStart - 1) + 1;
  const spaces = /^ {1,2}/.exec(query.value.slice(begin))?.[0].length ?? 0;
  query.setRangeText('', begin, begin + spaces, 'preserve');
}

function typeText(type) {
  if (type.kind === 'NON_NULL') return `${typeText(type.ofType)}!`;
  if (type.kind === 'LIST') return `[${typeText(type.ofType)}]`;
  return type.name;
}

function typeName(type) {
  return type.ofType ? typeName(type.ofType) : type.name;
}

// The fields of a type that have none themselves, as a selection.
function leavesOf(types, name) {
  const fields = types.get(name)?.fields;
  if (!fields) return '';
  const plain = fields.filter((field) => !types.get(typeName(field.type))?.fields);
  return ` {\n${plain.map((field) => `  ${field.name}\n`).join('')}}`;
}

function sample(types, field, root) {
  const needed = field.args.filter((arg) => arg.type.kind === 'NON_NULL' && arg.defaultValue === null);
  const given = needed.length === 0 ? '' : `(${needed.map((arg) => `${arg.name}: $${arg.name}`).join(', ')})`;
  const text = `${field.name}${given}${leavesOf(types, typeName(field.type))}`;
  if (root === undefined) return text;
  const declared = needed.length === 0 ? '' : `(${needed.map((arg) => `$${arg.name}: ${typeText(arg.type)}`).join(', ')})`;
  return `${root}${declared} {\n${text.replace(/^/gm, '  ')}\n}\n`;
}

function entry(types, field, root) {
  const list = document.createDocumentFragment();
  const args = (field.args ?? []).map((arg) => `${arg.name}: ${typeText(arg.type)}${arg.defaultValue === null ? '' : ` = ${arg.defaultValue}`}`);
  const text = `${field.name}${args.length === 0 ? '' : `(${args.join(', ')})`}${field.type ? `: ${typeText(field.type)}` : ''}`;
  const name = element('dt');
  const put = () => {
    if (root !== undefined) query.select();
    insert(field.args ? sample(types, field, root) : field.name);
  };
  name.append(element('button', text, { type: 'button', title: root === undefined ? 'Insert it at the cursor' : 'Write an operation of it', onclick: put }));
  list.append(name, element('dd', field.description ?? ''));
  return list;
}

function showSchema(schema) {
  const types = new Map(schema.types.map((type) => [type.name, type]));
  const roots = new Map([['query', schema.queryType], ['mutation', schema.mutationType], ['subscription', schema.subscriptionType]]
    .filter(([, type]) => type).map(([kind, type]) => [type.name, kind]));
  const own = schema.types.filter((type) => !type.name.startsWith('__'));
  own.sort((a, b) => Number(roots.has(b.name)) - Number(roots.has(a.name)) || a.name.localeCompare(b.name));
  at('schema').replaceChildren(...own.map((type) => {
    const part = element('details', undefined, { open: roots.has(type.name) });
    const summary = element('summary');
    summary.append(element('code', type.name), ` ${type.kind.toLowerCase().replace('_', ' ')}`);
    const list = element('dl');
    for (const field of type.fields ?? type.inputFields ?? type.enumValues ?? []) list.append(entry(types, field, roots.get(type.name)));
    part.append(summary);
    if (type.description) part.append(element('p', type.description, { className: 'note' }));
    part.append(list);
    return part;
  }));
  find();
}

function find() {
  const text = at('find').value.trim().toLowerCase();
  for (const part of at('schema').querySelectorAll('details')) {
    part.hidden = text !== '' && !part.textContent.toLowerCase().includes(text);
    if (text !== '' && !part.hidden) part.open = true;
  }
}

async function load() {
  const why = (text) => at('schema').replaceChildren(element('p', text, { className: 'note bad' }));
  try {
    const { answer } = await post({ query: INTROSPECTION });
    if (answer.data) showSchema(answer.data.__schema);
    else why(`no schema: ${answer.errors?.[0]?.message ?? answer.detail ?? 'refused'}`);
  } catch (error) {
    why(`no schema: ${error.message}`);
  }
}

for (const [name, text, values] of EXAMPLES) {
  at('examples').append(element('button', name, { type: 'button', onclick: () => put(text, values) }));
}
token.value = recall('token') ?? '';
put(recall('query') ?? EXAMPLES[0][1], recall('variables') ?? '');
showHistory();
query.addEventListener('keydown', key);
query.addEventListener('input', () => keep('query', query.value));
variables.addEventListener('input', () => keep('variables', variables.value));
token.addEventListener('change', () => { keep('token', token.value); load(); });
document.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) { event.preventDefault(); run(); }
});
at('run').addEventListener('click', run);
at('stop').addEventListener('click', () => stop('stopped'));
at('forget').addEventListener('click', () => { keep('history', '[]'); showHistory(); });
at('load').addEventListener('click', load);
at('find').addEventListener('input', find);
load();
