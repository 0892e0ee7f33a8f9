// Uploads what is chosen or dropped, and shows the pictures and figures. What users wrote is inserted as text.

const $ = (id) => document.getElementById(id);
const AT_ONCE = 4;           // uploads under way
const FIGURES_EVERY = 500;   // ms

function element(tag, text = '') {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

// ---------------------------------------------------------------- uploads

const waiting = [];
let underWay = 0;
let done = 0;

function add(files) {
  if (!underWay) { $('errors').replaceChildren(); done = 0; }
  waiting.push(...files);
  while (underWay < AT_ONCE && waiting.length) uploadNext();
}

async function uploadNext() {
  underWay += 1;
  for (let file; (file = waiting.shift());) {
    showState();
    const error = await upload(file);
    done += 1;
    if (error) $('errors').append(element('li', `${file.name}: ${error}`));
    await showPictures();
  }
  underWay -= 1;
  showState();
}

async function upload(file) {
  const query = new URLSearchParams({ name: file.name, width: $('width').value });
  try {
    const answer = await fetch(`images?${query}`, { method: 'POST', body: file });
    return answer.ok ? '' : (await answer.json()).error;
  } catch {
    return 'the server cannot be reached, or takes no more of it';
  }
}

function showState() {
  const left = waiting.length + underWay;
  $('state').textContent = left ? `${done} done, ${left} to go` : `${done} done`;
}

$('upload').onsubmit = (event) => {
  event.preventDefault();
  add($('files').files);
  $('files').value = '';
};

for (const kind of ['dragenter', 'dragover']) {
  addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.add('dropping');
  });
}
addEventListener('dragleave', (event) => {
  if (!event.relatedTarget) document.body.classList.remove('dropping');
});
addEventListener('drop', (event) => {
  event.preventDefault();
  document.body.classList.remove('dropping');
  if ($('width').reportValidity()) add(event.dataTransfer.files);
});

// ---------------------------------------------------------------- what there is

function figure({ id, name, width, height }) {
  const image = element('img');
  Object.assign(image, { src: `images/${id}.webp`, alt: name, loading: 'lazy' });
  const made = element('figure');
  made.append(image, element('figcaption', `${name}, ${width} by ${height}`));
  const item = element('li');
  item.dataset.id = id;
  item.append(made);
  return item;
}

async function showPictures() {
  const answer = await fetch('images').catch(() => null);
  if (!answer?.ok) return;
  const found = await answer.json();
  const shown = new Map([...$('gallery').children].map((item) => [item.dataset.id, item]));
  $('gallery').replaceChildren(...found.map((picture) => shown.get(picture.id) ?? figure(picture)));
  $('empty').hidden = found.length > 0;
}

function row(pool) {
  const milliseconds = (seconds) => `${(seconds * 1000).toFixed(0)} ms`;
  const made = element('tr');
  const name = element('th', pool.name);
  name.scope = 'row';
  const figures = [pool.queued, pool.running, pool.completed, pool.failed, milliseconds(pool.run.p50), milliseconds(pool.run.p99)];
  made.append(name, ...figures.map((value) => element('td', value)));
  return made;
}

async function showFigures() {
  const answer = document.hidden ? null : await fetch('stats').catch(() => null);
  if (answer?.ok) $('pools').replaceChildren(...(await answer.json()).pools.map(row));
  setTimeout(showFigures, FIGURES_EVERY);
}

showPictures();
showFigures();
