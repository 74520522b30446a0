// Links to what the page shows, and an image of a comparison. A link to a comparison contains it, compressed, after “#”: browsers
// do not send that part of an address. Evaluations, runs and reviews are in the query, by their ids.
const LONGEST_LINK = 16_000; // characters; many programs shorten longer addresses
const MOST_LINKED = 400_000; // bytes of a decompressed comparison

dsum.shownComparison = () => {
  const [, data] = document.querySelector('#downloads a[download="comparison.json"]').href.split(';base64,');
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(data), (one) => one.charCodeAt(0))));
};

dsum.pack = async (text) => {
  const packed = new Blob([text]).stream().pipeThrough(new CompressionStream('deflate-raw'));
  const bytes = new Uint8Array(await new Response(packed).arrayBuffer());
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join('')).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
};

// It stops as soon as the text is too long, whatever the size of the rest.
dsum.unpack = async (packed) => {
  if (packed.length > 4 * LONGEST_LINK) throw new Error('too long');
  const bytes = Uint8Array.from(atob(packed.replaceAll('-', '+').replaceAll('_', '/')), (one) => one.charCodeAt(0));
  const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate-raw')).getReader();
  const parts = [];
  let total = 0;
  for (let {done, value} = await reader.read(); !done; {done, value} = await reader.read()) {
    total += value.length;
    if (total > MOST_LINKED) { await reader.cancel(); throw new Error('too long'); }
    parts.push(value);
  }
  return new TextDecoder('utf-8', {fatal: true}).decode(await new Blob(parts).arrayBuffer());
};

dsum.linkedPart = () => new URLSearchParams(window.location.hash.slice(1)).get('comparison');

dsum.readLink = async (link, broken, ...rest) => {
  const packed = dsum.linkedPart();
  if (packed === null) return ['', '', ...rest];
  try { return [await dsum.unpack(packed), '', ...rest]; } catch {
    return ['', 'it is damaged or too long. Ask for a new one.', ...rest];
  }
};

dsum.comparisonLink = async () => {
  const {family, dialogue, references, decode, recorded, systems} = dsum.shownComparison();
  const done = systems.filter((system) => system.phase === 'done' && system.summary.trim());
  if (!done.length) throw new Error('No system has completed a summary.');
  const packed = await dsum.pack(JSON.stringify({
    family, dialogue, references, decode, made: recorded || new Date().toISOString().slice(0, 10),
    systems: done.map(({name, summary, strength}) => ({name, summary, strength})),
  }));
  const link = `${window.location.origin}${window.location.pathname}#comparison=${packed}`;
  if (link.length > LONGEST_LINK) {
    const [has, most] = [link.length, LONGEST_LINK].map((number) => number.toLocaleString('en'));
    throw new Error(`The texts are too long for a link: it would have ${has} characters, and the limit is ${most}. Download a file instead.`);
  }
  return link;
};

dsum.embedding = (link) => `<iframe src="${link}" title="dsum: a comparison" width="100%" height="900" loading="lazy"></iframe>`;

dsum.share = {
  link: async () => { await dsum.copyText(await dsum.comparisonLink()); return 'Link copied.'; },
  embed: async () => { await dsum.copyText(dsum.embedding(await dsum.comparisonLink())); return 'HTML copied.'; },
  png: async () => {
    const image = await new Promise((resolve) => { dsum.drawComparison(dsum.shownComparison()).toBlob(resolve, 'image/png'); });
    const link = Object.assign(document.createElement('a'), {href: URL.createObjectURL(image), download: 'comparison.png'});
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    return '';
  },
};

// The inputs of an event with the page's query instead of the first ones.
dsum.linkedIds = (names, ...inputs) => {
  const query = new URLSearchParams(window.location.search);
  return [...names.map((name) => query.get(name) ?? ''), ...inputs.slice(names.length)];
};

document.addEventListener('click', async (event) => {
  const linking = event.target.closest('[data-link]');
  if (linking) {
    await dsum.copyText(`${window.location.origin}${window.location.pathname}?${linking.dataset.link}`);
    linking.parentElement.querySelector('.share-status').textContent = 'Link copied.';
  }
  const button = event.target.closest('[data-share]');
  if (button) {
    const status = button.parentElement.querySelector('.share-status');
    try { status.textContent = await dsum.share[button.dataset.share](); } catch (error) { status.textContent = error.message; }
  }
  // The texts of the link are replaced: a reload must not bring them back.
  if (event.target.closest('#start, #clear') && dsum.linkedPart() !== null) {
    history.replaceState(history.state, '', window.location.pathname + window.location.search);
  }
});

// Another link in the same tab changes only the part after “#”, which loads nothing.
window.addEventListener('hashchange', () => { if (dsum.linkedPart() !== null) window.location.reload(); });

// The dialogue on the left, the summaries in columns beside it, in the page's colors.
dsum.drawComparison = ({dialogue, references, systems, recorded}) => {
  const style = getComputedStyle(document.body), color = (name) => style.getPropertyValue(name).trim();
  const scale = 2, margin = 24, gap = 16, left = 420, column = 300;
  const cards = systems.map(({title, name, summary, rouge, error}) => ({
    title: systems.filter((other) => other.title === title).length > 1 ? name : title, text: summary || error,
    facts: rouge ? Object.entries(rouge).filter(([, value]) => value !== null).map(([key, value]) => `${key.replace('rouge', 'ROUGE-')} ${(100 * value).toFixed(1)}`).slice(0, 3).join(' · ') : '',
  }));
  references.forEach((text, index) => cards.push({title: references.length > 1 ? `Reference ${index + 1}` : 'Reference', text, facts: ''}));
  const columns = Math.min(3, cards.length);
  const width = 2 * margin + left + columns * (column + gap);
  const canvas = document.createElement('canvas'), pen = canvas.getContext('2d');
  const font = (size, weight = 400) => { pen.font = `${weight} ${size}px "Source Sans Pro", "Segoe UI", system-ui, sans-serif`; };
  const wrapped = (text, space) => text.split('\n').flatMap((line) => {
    const lines = [''];
    for (let word of line.split(' ')) {
      while (pen.measureText(word).width > space) {
        let end = word.length;
        while (end > 1 && pen.measureText(word.slice(0, end)).width > space) end -= 1;
        lines.push(word.slice(0, end));
        word = word.slice(end);
      }
      const longer = lines.at(-1) ? `${lines.at(-1)} ${word}` : word;
      if (pen.measureText(longer).width > space) lines.push(word); else lines[lines.length - 1] = longer;
    }
    return lines;
  });
  font(15);
  const turns = wrapped(dialogue, left - gap);
  font(16);
  for (const card of cards) card.lines = wrapped(card.text, column - 28);
  const heights = [];
  cards.forEach((card, index) => {
    const row = Math.floor(index / columns);
    heights[row] = Math.max(heights[row] ?? 0, 78 + 24 * card.lines.length);
  });
  const height = 2 * margin + 34 + Math.max(22 * turns.length, heights.reduce((sum, one) => sum + one + gap, 0)) + 30;
  Object.assign(canvas, {width: width * scale, height: Math.min(height * scale, 16_000)});
  pen.scale(scale, scale);
  pen.textBaseline = 'top';
  pen.fillStyle = color('--background-fill-primary');
  pen.fillRect(0, 0, width, height);
  const write = (text, x, y, size, tint, weight) => { font(size, weight); pen.fillStyle = color(tint); pen.fillText(text, x, y); };
  write('dsum: one dialogue, several summaries', margin, margin, 18, '--body-text-color', 700);
  turns.forEach((line, index) => write(line, margin, margin + 34 + 22 * index, 15, '--body-text-color'));
  let top = margin + 34;
  cards.forEach((card, index) => {
    const place = index % columns, row = Math.floor(index / columns);
    if (index && !place) top += heights[row - 1] + gap;
    const x = margin + left + place * (column + gap);
    const shown = [...document.querySelectorAll('#cards .card, #card-human .card')].find((one) => one.getAttribute('aria-label') === card.title)
      ?? document.querySelector('#card-human .card');
    pen.strokeStyle = color('--border-color-primary');
    pen.strokeRect(x + 0.5, top + 0.5, column, heights[row]);
    pen.fillStyle = shown ? getComputedStyle(shown).borderTopColor : color('--border-color-primary');
    pen.fillRect(x, top, column + 1, 4);
    write(card.title, x + 14, top + 16, 17, '--body-text-color', 700);
    card.lines.forEach((line, number) => write(line, x + 14, top + 44 + 24 * number, 16, '--body-text-color'));
    write(card.facts, x + 14, top + heights[row] - 26, 13, '--body-text-color-subdued');
  });
  write(recorded ? `Recorded on ${recorded}` : new Date().toISOString().slice(0, 10), margin, height - margin - 14, 13, '--body-text-color-subdued');
  return canvas;
};
