// The page's functions; gradio's events call them as dsum.NAME. Loaded before the page is drawn.
const dsum = {
  compare() { document.querySelector('#start').click(); },

  toggleDark() { document.body.classList.toggle('dark'); },

  // On a phone the cards are below the input. The page scrolls to them once a model starts, or to the error.
  scrollToCards() {
    const [cards, problem] = ['#cards', '#problem'].map((one) => document.querySelector(one));
    const behavior = window.matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth';
    const parts = {subtree: true, childList: true};
    let block = 'nearest';
    dsum.cardsObserver?.disconnect();
    dsum.cardsObserver = new MutationObserver((records) => {
      if (problem.querySelector('.notice') && records.some((record) => problem.contains(record.target))) {
        dsum.cardsObserver.disconnect();
        problem.scrollIntoView({behavior, block});
      } else if (cards.querySelector('[aria-busy=true], .text')) {
        // A short comparison may end before the browser has drawn that it runs. The error may still follow: a card of
        // another comparison can be drawn late.
        dsum.cardsObserver.disconnect();
        dsum.cardsObserver.observe(problem, parts);
        if (cards.getBoundingClientRect().top < window.innerHeight * 0.8) return;
        block = 'center';  // 'nearest' would not end the scroll to the cards
        const notices = document.querySelector('#warnings .notice');
        (notices ?? cards).scrollIntoView({behavior, block: 'start'});
      }
    });
    for (const part of [cards, problem]) dsum.cardsObserver.observe(part, parts);
  },

  showLastColumn() {
    // After gradio has drawn the column.
    setTimeout(() => {
      const columns = [...document.querySelector('#cards').children].filter((column) => column.offsetParent);
      columns.at(-1)?.scrollIntoView({block: 'nearest', inline: 'end'});
    }, 200);
  },

  // Nothing is saved before the saved texts have been restored.
  restoreTexts(saved, ...texts) {
    dsum.textsRestored = true;
    // What was typed before this ran is saved too.
    const shown = saved ?? texts;
    return [shown, ...shown];
  },

  saveTexts(saved, ...texts) { return [dsum.textsRestored ? texts : saved]; },
};

// gradio 6.31 loads the API documentation only when its button is pressed, not for an address with ?view=api.
const address = new URL(window.location);
if (address.searchParams.get('view') === 'api') {
  address.searchParams.delete('view');
  history.replaceState(null, '', address);
  new MutationObserver((_, observer) => {
    const button = document.querySelector('footer .show-api');
    if (!button) return;
    observer.disconnect();
    button.click();
  }).observe(document, {subtree: true, childList: true});
}

// gradio repeats the text of the footer's buttons as the alternative text of their icons.
new MutationObserver((_, observer) => {
  const icons = document.querySelectorAll('footer button img');
  if (!icons.length) return;
  observer.disconnect();
  for (const icon of icons) icon.alt = '';
}).observe(document, {subtree: true, childList: true});

// gradio places a dropdown's options without the distance that the columns are scrolled to the side; page.css adds it.
document.addEventListener('scroll', (event) => {
  if (event.target.id === 'cards') event.target.style.setProperty('--scrolled', `${event.target.scrollLeft}px`);
}, true);

// The fallback is for pages in a frame that may not write to the clipboard.
dsum.copyText = async (text) => {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement('textarea');
    area.value = text;
    document.body.appendChild(area);
    area.select();
    document.execCommand('copy');
    area.remove();
  }
};

// The secret by which this browser owns its runs and reviews: the known one, or a new one.
dsum.newOwner = (known) => {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [known || Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')];
};

// A click on a page just drawn waits for that secret; without it, the app would take the click for a stranger's.
const earlyClicks = [];
const keepClick = (event) => {
  event.preventDefault();
  event.stopImmediatePropagation();
  earlyClicks.push(event.target);
};
document.addEventListener('click', keepClick, true);
dsum.replayClicks = () => {
  document.removeEventListener('click', keepClick, true);
  for (const target of earlyClicks) target.dispatchEvent(new MouseEvent('click', {bubbles: true, cancelable: true}));
};

// Once: in a browser that keeps nothing, the owner changes with every load.
dsum.loadAgain = (changed) => {
  const [load] = performance.getEntriesByType('navigation');
  if (changed && load.type !== 'reload') window.location.reload();
};

// The link exists only after gradio has drawn the file.
dsum.download = (button) => { setTimeout(() => document.querySelector(button).click(), 100); };

// The Copy buttons of all cards.
document.addEventListener('click', async (event) => {
  const button = event.target.closest('.copy');
  if (!button) return;
  const text = [...button.closest('.card, .command').querySelectorAll('.text')].map((part) => part.innerText.trim()).join('\n');
  await dsum.copyText(text);
  const before = button.textContent;
  button.textContent = 'Copied';
  setTimeout(() => { button.textContent = before; }, 1500);
});
