'use strict';
// Fills the page from the API, again every few seconds. Text is set as text, never as HTML.

const BASE = '/api/v1/pipeline';
const EVERY_MS = 3000;
const TIMEOUT_MS = 5000;
// Without an answer for so long the numbers are old.
const QUIET_MS = EVERY_MS + TIMEOUT_MS;
const number = new Intl.NumberFormat('en-US');

async function get(path) {
  const response = await fetch(BASE + path, { headers: { accept: 'application/json' }, signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (!response.ok) {
    const problem = await response.json().catch(() => ({}));
    throw new Error(`answers ${response.status}: ${problem.detail ?? path}`);
  }
  return response.json();
}

// A span of time for a person: 45 s, 12 min, 3 h, 2 d.
function span(ms) {
  const secs = Math.max(0, Math.floor(ms / 1000));
  if (secs < 120) return `${secs} s`;
  if (secs < 7200) return `${Math.floor(secs / 60)} min`;
  if (secs < 172800) return `${Math.floor(secs / 3600)} h`;
  return `${Math.floor(secs / 86400)} d`;
}

function row(cells) {
  const tr = document.createElement('tr');
  if (cells.isBad) tr.className = 'bad';
  cells.forEach((cell, index) => {
    const td = document.createElement(index === 0 ? 'th' : 'td');
    if (index === 0) td.scope = 'row';
    td.textContent = typeof cell === 'number' ? number.format(cell) : cell;
    if (typeof cell === 'number') td.className = cell === 0 ? 'count zero' : 'count';
    tr.append(td);
  });
  return tr;
}

function fill(id, rows, empty, columns) {
  const body = document.querySelector(`#${id} tbody`);
  if (rows.length > 0) return body.replaceChildren(...rows.map(row));
  const tr = row([empty]);
  tr.firstChild.colSpan = columns;
  tr.firstChild.className = 'empty';
  body.replaceChildren(tr);
}

function showBooks(audit) {
  const stages = [['shard-splitter', audit.shard_splitter], ['shard-worker', audit.shard_worker], ['mysql-sender', audit.mysql_sender]];
  fill('books', stages.map(([name, s]) => [name, s.tasks.new, s.tasks.started, s.tasks.done, s.tasks.failed,
    s.counts.read, s.counts.written, s.counts.duplicate, s.counts.rejected]), '', 9);
  const verdict = document.getElementById('verdict');
  const differences = audit.difference_count;
  verdict.className = differences === 0 ? 'good' : 'bad';
  verdict.textContent = `${number.format(audit.files)} files, ${number.format(audit.event_lines)} lines in; ` + (differences === 0
    ? 'everything that was reported adds up.'
    : `${number.format(differences)} differences, the first: ${audit.differences[0].file ?? ''} ${audit.differences[0].what}`);
}

function lease(task) {
  if (task?.lease_left_ms === undefined) return '';
  return task.lease_left_ms >= 0 ? `${span(task.lease_left_ms)} left` : `expired ${span(-task.lease_left_ms)} ago`;
}

function showLanes(status) {
  const open = status.lanes.filter((lane) => lane.waiting + lane.under_way > 0);
  open.sort((a, b) => Number(b.stuck) - Number(a.stuck));
  const rows = open.map((lane) => {
    const task = lane.oldest;
    const held = task?.worker === undefined ? '' : `${task.worker} for ${span(task.held_ms ?? 0)}`;
    const repair = lane.stuck && lane.repair ? ` → ${advice(lane.repair)}` : '';
    const cells = [lane.stage, String(lane.shard), lane.waiting, lane.under_way, task?.filename ?? '', task ? span(task.age_ms) : '',
      held, lease(task), (lane.reason ?? '') + repair];
    cells.isBad = lane.stuck;
    return cells;
  });
  fill('lanes', rows, 'nothing waits', 9);
}

function advice(repair) {
  const how = repair.commands.length > 0 ? repair.commands.join('; ') : 'it goes on by itself then';
  return `${repair.what}: ${how} (${repair.runbook})`;
}

function showFailed(status) {
  const rows = status.failed.map((task) => {
    const cells = [task.filename, String(task.shard), task.stage, task.reason, advice(task.repair)];
    cells.isBad = true;
    return cells;
  });
  if (status.more_failed) rows.push(['and more', '', '', 'shopctl status --json', '']);
  fill('failed', rows, 'none', 5);
}

const HEALTH = {
  well: 'well',
  failed: 'tasks have failed',
  stuck: 'stuck: something waits, and nothing moved for two leases',
};

let heard = Date.now();
let asOf = '';
let problem = '';

// Says when the numbers are from, and in red when nothing was heard since.
function showState() {
  const state = document.getElementById('state');
  const quiet = Date.now() - heard;
  const isQuiet = problem !== '' || quiet > QUIET_MS;
  document.body.classList.toggle('stale', isQuiet);
  state.className = isQuiet ? 'bad' : '';
  state.textContent = isQuiet
    ? `nothing heard for ${Math.floor(quiet / 1000)} s${problem === '' ? '' : `: the API ${problem}`}`
    : asOf === '' ? 'loading…' : `as of ${asOf} UTC`;
}

async function refresh() {
  try {
    const [status, audit] = await Promise.all([get('/status'), get('/audit')]);
    const health = document.getElementById('health');
    health.className = status.health === 'well' ? 'good' : 'bad';
    health.textContent = HEALTH[status.health] ?? status.health;
    showLanes(status);
    showFailed(status);
    showBooks(audit);
    heard = Date.now();
    // The moment of the numbers, not that of the answer.
    asOf = status.as_of.slice(11, 19);
    problem = '';
  } catch (error) {
    problem = error.message.startsWith('answers ') ? error.message : `does not answer (${error.message})`;
  }
  showState();
  setTimeout(refresh, EVERY_MS);
}

setInterval(showState, 1000);
refresh();
