// Handles what the user does: the form for name and room, the buttons, the keys.

import { Link } from './link.js';
import { load, store } from './storage.js';
import { $, View } from './view.js';

let link = null;
let view = null;

// A WebSocket cannot send an unpaired surrogate.
const clean = (text) => text.trim().toWellFormed?.() ?? text.trim();

function join(name, room) {
  store(localStorage, 'chat.name', name);
  store(sessionStorage, 'chat.name', name);  // two windows may be two people
  store(localStorage, 'chat.room', room);
  // The router reads the room from this cookie, and sends all clients of a room to one node.
  document.cookie = `room=${encodeURIComponent(room)}; path=/; max-age=2592000; samesite=lax`;
  history.replaceState(null, '', `?room=${encodeURIComponent(room)}`);
  $('door').hidden = true;
  $('chat').hidden = false;
  view = new View(leave);
  view.room(room);
  link = new Link(room, name, view);
  link.open();
  $('words').focus();
}

function leave(reason = '') {
  link?.close();
  view?.close();
  link = view = null;
  document.title = 'Chat';
  $('chat').hidden = true;
  $('door').hidden = false;
  $('refused').textContent = reason;
  $('refused').hidden = !reason;
  $('name').focus();
}

$('join').addEventListener('submit', (event) => {
  event.preventDefault();
  const name = $('name').value = clean($('name').value);
  const room = $('room').value = clean($('room').value);
  if (name && room) join(name, room); else $('join').reportValidity();
});

$('composer').addEventListener('submit', (event) => {
  event.preventDefault();
  const text = clean($('words').value);
  if (!text) return;
  $('words').value = '';
  $('trouble').hidden = true;
  link.say(text, $('to').value);
  $('words').focus();
});

$('words').addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $('composer').requestSubmit();
  } else if (event.key === 'Escape') {
    view.address('');
  }
});

// No typing notice for a private message.
$('words').addEventListener('input', () => $('words').value.trim() && !$('to').value && link.typing());

$('to').addEventListener('change', () => view.address($('to').value));
$('leave').addEventListener('click', () => leave());
$('newer').addEventListener('click', () => view.toEnd());
$('scroll').addEventListener('scroll', () => view?.scrolled(), { passive: true });
addEventListener('online', () => link?.hurry());
addEventListener('offline', () => view?.state('offline'));  // perhaps for a moment only: the link reconnects
// A browser may keep a page that was left, for its back button, with its socket: without this we
// would still be listed in the room.
addEventListener('pagehide', () => link?.close());
addEventListener('pageshow', (event) => event.persisted && link?.open());
document.addEventListener('visibilitychange', () => {
  if (document.hidden) return;
  view?.seen();
  link?.hurry();
});

const asked = new URLSearchParams(location.search).get('room');
$('name').value = load(sessionStorage, 'chat.name', load(localStorage, 'chat.name', ''));
$('room').value = asked ?? load(localStorage, 'chat.room', 'lobby');
if (asked && load(sessionStorage, 'chat.name', '')) {  // the page was only reloaded
  join($('name').value, $('room').value);
} else {
  $('door').hidden = false;
  $($('name').value ? 'room' : 'name').focus();
}
