'use strict';
// Fills the page from the API, again every few seconds. Text is set as text, never as HTML.

const BASE = '/api/v1/pipeline';
const EVERY_MS = 3000;
const number = new Intl.NumberFormat('en-US');

async function get(path) {
  const response = await fetch(BASE + path, { headers: { accept: 'application/json' } });
  if (!response.ok) throw new Error(`${path} answered ${response.status}`);
  return response.json();
}

function row(cells) {
  const tr = document.createElement('tr');
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

function showFailed(files) {
  const rows = [];
  for (const file of files.items) {
    for (const shard of file.shards) {
      const failed = ['shard_splitter_status', 'shard_worker_status', 'mysql_sender_status'].some((key) => shard[key] === 'failed');
      if (failed) rows.push([file.filename, shard.shard, shard.last_error ?? '']);
    }
  }
  fill('failed', rows, 'none', 3);
}

async function refresh() {
  const state = document.getElementById('state');
  try {
    const [audit, failed] = await Promise.all([get('/audit'), get('/files?status=failed&limit=50')]);
    showBooks(audit);
    showFailed(failed);
    state.className = '';
    state.textContent = `as of ${new Date().toISOString().slice(11, 19)} UTC`;
  } catch (error) {
    state.className = 'bad';
    state.textContent = `no answer: ${error.message}`;
  }
  setTimeout(refresh, EVERY_MS);
}

refresh();
