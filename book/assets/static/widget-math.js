/* The widgets' manager speaks to MathJax 2 (MathJax.Hub.Queue); the site serves MathJax 3. This translates. */
(() => {
  if (!window.MathJax) return;
  const hub = {
    Queue: (...calls) => {
      const elements = calls.map((call) => call[2]).filter((element) => element && /\$|\\\(|\\\[/.test(element.textContent));
      if (elements.length) window.MathJax.startup.promise.then(() => window.MathJax.typesetPromise(elements));
    },
  };
  window.MathJax.Hub = hub; // until MathJax has started, nothing in a widget is typeset before that
  window.MathJax.startup = {
    ready: () => {
      window.MathJax.startup.defaultReady();
      window.MathJax.Hub = hub;
    },
  };
})();
