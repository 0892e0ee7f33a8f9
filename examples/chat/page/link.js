// A connection to a room that reconnects. The messages are described in `_protocol.py`.
//
// `seq` increases by one for each message: we ask for the messages after the last one that we have, and
// ignore others. A message that we send has an `id` and stays in `pending` until it comes back as `said`;
// it is sent again on every new connection, and the room ignores an `id` that it has stored.

import { load, store } from './storage.js';

const WELCOME_WITHIN = 10_000;  // ms from connecting to `welcome`
const SAID_WITHIN = 12_000;     // ms from sending a message to its `said`
const STEADY_AFTER = 5_000;     // ms of connection after which earlier failures are forgotten
const TYPING_EVERY = 2_000;     // ms between two `typing` messages
const REFUSED = 1008;           // close code: this name or room is refused, do not try again

const delayAfter = (failures) => Math.min(15_000, 250 * 2 ** failures) * (0.5 + Math.random());

export class Link {
  #socket = null;
  #seq = null;          // number of the last message we have; null before the first
  #upTo = 0;            // number of the last message of the room when we connected
  #pending;             // id -> { text, to }, in the order of sending
  #failures = 0;
  #welcomed = false;
  #typed = 0;
  #retry; #watch; #steady;

  constructor(room, name, view) {
    this.room = room;
    this.name = name;
    this.view = view;
    this.#pending = new Map(load(sessionStorage, this.#key, []));
    for (const [id, { text, to }] of this.#pending) view.pending(id, text, to);
  }

  open() {
    this.#silence();
    const query = [`room=${encodeURIComponent(this.room)}`, `name=${encodeURIComponent(this.name)}`];
    if (this.#seq !== null) query.push(`after=${this.#seq}`);
    const url = new URL(`ws?${query.join('&')}`, location.href);
    url.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
    const socket = this.#socket = new WebSocket(url);
    socket.onmessage = (event) => socket === this.#socket && this.#receive(event.data);
    socket.onclose = (event) => socket === this.#socket && this.#lost(event.code === REFUSED, event.reason);
    this.#watch = setTimeout(() => this.#lost(), WELCOME_WITHIN);
    this.view.state(this.#failures ? 'waiting' : 'connecting');
  }

  close() { this.#silence(); }  // `pending` is kept for the next connection to this room

  hurry() {  // the network or the user is back: reconnect at once
    if (this.#welcomed) this.view.state('connected');
    else if (!this.#socket) this.open();
  }

  say(text, to) {
    const id = newId();
    this.#pending.set(id, { text, to });
    this.#remember();
    this.view.pending(id, text, to);
    this.#typed = 0;
    if (this.#welcomed) this.#send(id, text, to);
  }

  typing() {
    const now = Date.now();
    if (!this.#welcomed || now < this.#typed + TYPING_EVERY) return;
    this.#typed = now;
    this.#socket.send('{"type":"typing"}');
  }

  get #key() { return `chat.pending.${this.room}.${this.name}`; }

  #remember() { store(sessionStorage, this.#key, this.#pending.size ? [...this.#pending] : null); }

  #send(id, text, to) {
    this.#socket.send(JSON.stringify({ type: 'say', id, text, ...(to && { to }) }));
    this.#watch ??= setTimeout(() => this.#lost(), SAID_WITHIN);
  }

  #receive(data) {
    const message = JSON.parse(data);
    switch (message.type) {
      case 'welcome': return this.#welcome(message);
      case 'said': return this.#said(message);
      case 'hidden': return this.#counts(message.seq);
      case 'people': return this.view.people(message.people);
      case 'typing': return this.view.typing(message.name);
      case 'error': return this.#error(message);
    }
  }

  #welcome({ node, room, you, people, seq }) {
    this.#unwatch();
    if (this.#seq !== null && seq < this.#seq) {  // the room has lost its history: start again
      this.#seq = null;
      this.view.clear();
      return this.open();
    }
    if (seq === 0) this.#seq = 0;
    this.#welcomed = true;
    this.#upTo = seq;
    this.#steady = setTimeout(() => { this.#failures = 0; }, STEADY_AFTER);
    this.view.welcome(node, room, you, people, seq);
    if (seq === this.#seq) this.view.caughtUp();
    for (const [id, { text, to }] of this.#pending) this.#send(id, text, to);
  }

  #said(message) {
    const { id, seq } = message;
    if (id != null && this.#pending.has(id)) {
      this.#settle(id);
      this.#failures = 0;
    }
    this.#counts(seq, () => this.view.said(message, seq > this.#upTo));
  }

  // Show message `seq` if it is the next; ignore one that we have; reconnect at a gap.
  #counts(seq, show = () => {}) {
    if (this.#seq !== null && seq <= this.#seq) return;
    if (this.#seq !== null && seq > this.#seq + 1) return this.#lost();  // ask again
    this.#seq = seq;
    show();
    if (seq === this.#upTo) this.view.caughtUp();
  }

  #error({ error, id }) {
    if (id != null && this.#pending.has(id)) {  // this message was refused: do not send it again
      this.#settle(id, error);
    } else {
      this.view.trouble(error);
    }
  }

  #settle(id, error) {
    this.#pending.delete(id);
    this.#remember();
    this.view.settled(id, error);
    this.#unwatch();
    if (this.#pending.size) this.#watch = setTimeout(() => this.#lost(), SAID_WITHIN);
  }

  #lost(refused = false, reason = '') {  // without the closing handshake, which could time out as well
    this.#silence();
    if (refused) return this.view.refused(reason);
    this.#retry = setTimeout(() => this.open(), delayAfter(this.#failures++));
    this.view.state(navigator.onLine ? 'waiting' : 'offline');
  }

  #unwatch() {
    clearTimeout(this.#watch);
    this.#watch = undefined;
  }

  #silence() {
    this.#unwatch();
    clearTimeout(this.#retry);
    clearTimeout(this.#steady);
    const socket = this.#socket;
    this.#socket = this.#retry = null;
    this.#welcomed = false;
    if (socket?.readyState <= WebSocket.OPEN) socket.close();
  }
}

function newId() {  // crypto.randomUUID is missing on plain http from another machine
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
