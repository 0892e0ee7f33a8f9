// Shows the room. What users wrote is inserted as text, never as markup.

export const $ = (id) => document.getElementById(id);

const STATES = { connecting: 'Connecting…', connected: 'Connected', waiting: 'Reconnecting…', offline: 'Offline' };
const KEPT = 1_000;           // messages on the page; older ones are removed
const GONE_AFTER = 3_000;     // ms; who is back within them has only reconnected
const TYPING_FOR = 3_000;     // ms without another `typing` after which somebody has stopped

export class View {
  #unread = 0;
  #room = '';
  #you = '';
  #here = null;               // names, null before the first welcome
  #going = new Map();         // name -> timer, for people who may reconnect
  #typing = new Map();        // name -> timer

  constructor(leave) {
    this.leave = leave;
    this.clear();
    for (const id of ['pending', 'people']) $(id).replaceChildren();
    for (const id of ['node', 'typing', 'trouble']) $(id).textContent = '';
    $('trouble').hidden = true;
    $('to').length = 1;
    this.address('');
  }

  close() {
    for (const timer of [...this.#going.values(), ...this.#typing.values()]) clearTimeout(timer);
  }

  state(state) {
    $('state').dataset.state = state;
    $('state').textContent = STATES[state];
  }

  room(room) {
    this.#room = room;
    $('title').textContent = room;
    this.#retitle();
  }

  welcome(node, room, you, people, seq) {
    this.#you = you;
    this.state('connected');
    $('node').textContent = `served by ${node}`;
    $('trouble').hidden = true;
    $('empty').hidden = seq > 0;
    $('log').ariaBusy = 'true';  // so that a screen reader does not read out the whole history
    this.room(room);
    this.people(people);
  }

  caughtUp() { $('log').ariaBusy = 'false'; }

  // ---------------------------------------------------------------- who is here

  people(people) {
    const times = new Map();
    for (const name of people) times.set(name, (times.get(name) ?? 0) + 1);
    this.#comeAndGo(new Set(times.keys()));
    this.#here = new Set(times.keys());
    const focused = document.activeElement?.dataset.name;
    $('people').replaceChildren(...[...times].map(([name, count]) => this.#person(name, count)));
    if (focused) this.#chips().find((chip) => chip.dataset.name === focused)?.focus();
    const chosen = $('to').value;
    const others = new Set([...this.#here, ...(chosen ? [chosen] : [])]);  // with the chosen person, who may have just left
    others.delete(this.#you);
    $('to').length = 1;
    for (const name of others) $('to').add(new Option(this.#shown(name), name));
    this.address(chosen);
  }

  #person(name, count) {
    const item = document.createElement('li');
    const you = name === this.#you;
    const chip = element(you ? 'span' : 'button', '');
    chip.append(element('bdi', '', this.#shown(name)), you ? ' (you)' : '', count > 1 ? ` ×${count}` : '');
    if (!you) {
      chip.type = 'button';
      chip.dataset.name = name;
      chip.title = `Write to ${this.#shown(name)} privately`;
      chip.onclick = () => {
        this.address($('to').value === name ? '' : name);
        $('words').focus();
      };
    }
    item.append(chip);
    return item;
  }

  #comeAndGo(now) {
    if (this.#here === null) return;
    for (const name of now) {
      if (this.#here.has(name)) continue;
      if (this.#going.has(name)) this.#stays(name); else this.#event(name, 'has joined');
    }
    for (const name of this.#here) {
      if (now.has(name) || name === this.#you) continue;
      this.#stopsTyping(name);
      this.#going.set(name, setTimeout(() => {
        this.#going.delete(name);
        this.#event(name, 'has left');
      }, GONE_AFTER));
    }
  }

  #stays(name) {
    clearTimeout(this.#going.get(name));
    this.#going.delete(name);
  }

  #event(name, what) {
    const atEnd = this.#atEnd();
    const item = element('li', 'event');
    item.append(element('bdi', '', this.#shown(name)), ` ${what}`);
    $('log').append(item);
    if (atEnd) this.toEnd();
  }

  // The tag after # is shown only to tell apart people with the same name.
  #shown(name) {
    const plain = (name) => name.split('#')[0];
    const namesakes = [...this.#here ?? [], this.#you].filter((other) => other !== name && plain(other) === plain(name));
    return namesakes.length ? name.slice(0, plain(name).length + 5) : plain(name);
  }

  typing(name) {
    clearTimeout(this.#typing.get(name));
    this.#typing.set(name, setTimeout(() => this.#stopsTyping(name), TYPING_FOR));
    this.#showTyping();
  }

  #stopsTyping(name) {
    clearTimeout(this.#typing.get(name));
    this.#typing.delete(name);
    this.#showTyping();
  }

  #showTyping() {
    const names = [...this.#typing.keys()].map((name) => this.#shown(name));
    const few = names.length > 3 ? 'Several people are typing…' : `${names.join(', ')} ${names.length > 1 ? 'are' : 'is'} typing…`;
    $('typing').textContent = names.length ? few : '';
  }

  // ---------------------------------------------------------------- what was said

  said({ seq, name, text, at, to }, live) {
    const atEnd = this.#atEnd();
    const mine = name === this.#you;
    $('empty').hidden = true;
    this.#stopsTyping(name);
    const item = this.#bubble(name, text, to, at);
    item.dataset.seq = seq;
    $('log').append(item);
    while ($('log').childElementCount > KEPT) $('log').firstElementChild.remove();
    if (atEnd || mine) this.toEnd(); else $('newer').hidden = false;
    if (document.hidden && live && !mine) this.#unread += 1;
    this.#retitle();
  }

  pending(id, text, to) {
    const item = this.#bubble(this.#you, text, to, null);
    item.classList.add('mine');  // our name as others see it may not be known yet
    item.dataset.id = id;
    item.append(element('div', 'note', 'sending…'));
    $('pending').append(item);
    this.toEnd();
  }

  settled(id, error) {
    const item = [...$('pending').children].find((item) => item.dataset.id === id);
    if (!error) return item?.remove();
    item.classList.add('refused');
    item.querySelector('.note').textContent = `not sent: ${error}`;
  }

  #bubble(name, text, to, at) {
    const mine = name === this.#you;
    const item = element('li', `message${mine ? ' mine' : ''}${to ? ' private' : ''}`);
    const who = element('bdi', 'who', mine ? 'You' : this.#shown(name));
    who.style.setProperty('--hue', hue(name));
    item.append(who);
    if (to) item.append(element('span', 'note', mine ? `only to ${this.#shown(to)}` : 'only to you'));
    if (at !== null) item.append(time(at));
    const words = element('div', 'text', text);
    words.dir = 'auto';
    item.append(words);
    return item;
  }

  // Choose the recipient of the next message: a name, or '' for everybody.
  address(name) {
    $('to').value = name;
    $('composer').classList.toggle('private', name !== '');
    $('words').placeholder = name ? `Only to ${this.#shown(name)}` : 'Message';
    for (const chip of this.#chips()) chip.ariaPressed = String(chip.dataset.name === name);
  }

  #chips() { return [...$('people').querySelectorAll('button')]; }

  trouble(error) {
    $('trouble').textContent = error;
    $('trouble').hidden = false;
  }

  refused(reason) {
    const said = $('trouble').hidden ? '' : $('trouble').textContent;
    this.leave(said || reason || 'The server refused this name or room.');
  }

  clear() {
    $('log').replaceChildren();
    $('newer').hidden = true;
  }

  // ---------------------------------------------------------------- where we look

  seen() {
    this.#unread = 0;
    this.#retitle();
  }

  toEnd() {
    $('scroll').scrollTop = $('scroll').scrollHeight;
    $('newer').hidden = true;
  }

  scrolled() {
    if (this.#atEnd()) $('newer').hidden = true;
  }

  #atEnd() {
    const { scrollTop, scrollHeight, clientHeight } = $('scroll');
    return scrollHeight - scrollTop - clientHeight < 80;
  }

  #retitle() {
    document.title = (this.#unread ? `(${this.#unread}) ` : '') + this.#room;
  }
}

function time(at) {
  const when = new Date(at * 1000);
  const made = element('time', '', when.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }));
  made.dateTime = when.toISOString();
  made.title = when.toLocaleString();
  return made;
}

function element(tag, className, text = '') {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

function hue(name) {
  let sum = 0;
  for (const character of name) sum = (sum * 31 + character.codePointAt(0)) % 360;
  return sum;
}
