// The page's functions; gradio's events call them as dsum.NAME. Loaded before the page is drawn.
const dsum = {
  compare() { document.querySelector('#start').click(); },

  toggleDark() { document.body.classList.toggle('dark'); },

  // Nothing is saved before the saved texts have been restored.
  restoreTexts(saved, ...texts) {
    dsum.textsRestored = true;
    return saved ?? texts;
  },

  saveTexts(saved, ...texts) { return [dsum.textsRestored ? texts : saved]; },
};

// The Copy buttons of all cards. The fallback is for pages in a frame that may not write to the clipboard.
document.addEventListener('click', async (event) => {
  const button = event.target.closest('.copy');
  if (!button) return;
  const text = [...button.closest('.card, .command').querySelectorAll('.text')].map((part) => part.innerText.trim()).join('\n');
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
  const before = button.textContent;
  button.textContent = 'Copied';
  setTimeout(() => { button.textContent = before; }, 1500);
});
