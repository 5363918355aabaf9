/* A slider's handle is what the keyboard and a screen reader meet: it takes the name and the value that stand beside it. */
(() => {
  const name = (slider) => {
    const handle = slider.querySelector('.noUi-handle');
    const label = slider.querySelector('.widget-label');
    const value = slider.querySelector('.widget-readout');
    if (!handle || !label || !value || handle.hasAttribute('aria-label')) return;
    const say = () => {
      handle.setAttribute('aria-label', label.textContent.trim());
      handle.setAttribute('aria-valuetext', value.textContent.trim());
    };
    say();
    new MutationObserver(say).observe(value, { childList: true, characterData: true, subtree: true });
  };
  const all = () => document.querySelectorAll('.widget-slider').forEach(name);
  document.addEventListener('DOMContentLoaded', () => {
    if (document.querySelector('script[type^="application/vnd.jupyter.widget"]')) {
      new MutationObserver(all).observe(document.body, { childList: true, subtree: true });
    }
  });
})();
