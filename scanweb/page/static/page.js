/* The page is complete without this script, which adds what a browser can do. ES5, for old WebViews. All texts are in the page. */
(function () {
  'use strict';
  var doc = document, root = doc.documentElement;

  function one(query, within) { return (within || doc).querySelector(query); }
  function all(query) { return Array.prototype.slice.call(doc.querySelectorAll(query)); }
  /* A feature that fails leaves the page as it was. */
  function attempt(feature) { try { feature(); } catch (ignored) { return; } }
  function offer(button, action) {
    button.addEventListener('click', function () { attempt(action); });
    button.hidden = false;
  }
  function say(where, name) {
    var word = one('[data-word=' + name + ']', where), said = one('[data-part=said]', where);
    said.setAttribute('data-tone', word.getAttribute('data-tone') || '');
    said.textContent = word.textContent;
  }
  function codePath() {
    var code = one('[data-code]');
    return code ? code.textContent.trim() : '';
  }

  attempt(function () {
    var warning = one('[data-base]');
    warning.hidden = location.protocol + '//' + location.host === warning.getAttribute('data-base');
  });

  /* Large text: the choice is stored only in the address. */
  attempt(function () {
    var link = one('[data-do=large]');
    function resized(query, large) {
      var kept = query.slice(1).split('&').filter(function (part) { return part && part.indexOf('size=') !== 0; });
      return '?' + kept.concat(large ? 'size=large' : []).join('&');
    }
    link.addEventListener('click', function (event) {
      var large = !root.classList.contains('large'), other = link.getAttribute('data-other'), query;
      query = resized(location.search, large);
      history.replaceState(null, '', location.pathname + (query === '?' ? '' : query) + location.hash);
      all('a[href^="?"],a[href^="/?"]').forEach(function (each) {
        var href = each.getAttribute('href').split('?');
        each.setAttribute('href', href[0] + resized('?' + href[1], each === link ? !large : large));
      });
      all('[name=size]').forEach(function (each) { each.disabled = !large; });
      if (other) {
        link.setAttribute('data-other', link.textContent);
        link.textContent = other;
      }
      root.classList.toggle('large');
      event.preventDefault();
    });
  });

  /* Reading aloud: one sentence at a time, because browsers stop in the middle of long texts. */
  attempt(function () {
    var button = one('[data-do=say]'), speech = window.speechSynthesis, queue = [], current = null;
    var CUT = /.{1,99}?(?:[。！？；]|[.!?;](?= |$)|$)|.{0,98}[，、, ]|.{1,99}/g;
    function primaryTag(tag) { return tag.toLowerCase().split(/[-_]/)[0].replace(/^(cmn|yue)$/, 'zh'); }
    function trimmed(element) { return element.textContent.replace(/\s+/g, ' ').trim(); }
    function languageOf(element) {
      var inner = one('[lang]', element);
      if (inner && trimmed(inner) === trimmed(element)) { return inner.lang; }
      while (!element.lang) { element = element.parentNode; }
      return element.lang;
    }
    function pieces() {
      var sentences = [];
      all('[data-say]').forEach(function (element) {
        (trimmed(element).match(CUT) || []).forEach(function (text) {
          if (text.trim()) { sentences.push({ text: text.trim(), lang: languageOf(element) }); }
        });
      });
      return sentences;
    }
    function stop() {
      queue = [];
      current = null;
      button.setAttribute('aria-pressed', 'false');
      speech.cancel();
    }
    function speak() {
      var piece = queue.shift(), words;
      if (!piece) { stop(); return; }
      words = current = new SpeechSynthesisUtterance(piece.text); /* kept in a variable: Chrome garbage-collects an utterance without a reference */
      words.lang = piece.lang;
      words.onend = function () { if (current === words) { speak(); } };
      words.onerror = function () { if (current === words) { stop(); } };
      speech.speak(words);
    }
    function offerReading() {
      var voices = speech.getVoices(), i;
      for (i = 0; button.hidden && i < voices.length; i += 1) {
        if (primaryTag(voices[i].lang) === primaryTag(root.lang)) {
          offer(button, function () {
            if (current) { stop(); return; }
            queue = pieces();
            button.setAttribute('aria-pressed', 'true');
            speak();
          });
        }
      }
    }
    speech.onvoiceschanged = function () { attempt(offerReading); };
    window.addEventListener('pagehide', stop);
    offerReading();
  });

  attempt(function () {
    var button = one('[data-do=share]'), where = button.parentNode;
    function address() {
      var code = codePath(), path = location.pathname;
      if (code && path.toUpperCase().slice(-code.length) !== code) { path = code; }
      return location.protocol + '//' + location.host + path;
    }
    function copied() { say(where, 'copied'); }
    function show() {
      var part = one('[data-part=link]', where), field = one('input', part);
      field.value = address();
      part.hidden = false;
      field.focus();
      field.setSelectionRange(0, field.value.length);
      if (doc.execCommand('copy')) {
        part.hidden = true;
        button.focus();
        copied();
      }
    }
    function copy() {
      if (!navigator.clipboard) { show(); return; }
      navigator.clipboard.writeText(address()).then(copied, function () { attempt(show); });
    }
    offer(button, function () {
      if (!navigator.share) { copy(); return; }
      navigator.share({ title: doc.title, url: address() }).then(null, function (error) {
        if (error.name !== 'AbortError') { attempt(copy); }
      });
    });
  });

  /* In some apps print() does nothing: then the page says where printing works. */
  attempt(function () {
    var button = one('[data-do=print]'), begun = false;
    if (!window.print) { return; }
    window.addEventListener('beforeprint', function () { begun = true; });
    offer(button, function () {
      begun = false;
      window.print();
      setTimeout(function () { attempt(function () { if (!begun) { say(button.parentNode, 'unprinted'); } }); }, 1000);
    });
  });

  /* The script that verifies the seal is fetched when the reader presses the button. */
  attempt(function () {
    var section = one('#verify'), requested = false;
    offer(one('[data-do=verify]', section), function () {
      var script = doc.createElement('script');
      if (requested) { return; }
      requested = true;
      say(section, 'busy');
      script.src = section.getAttribute('data-script');
      script.onerror = function () { requested = false; say(section, 'away'); };
      doc.head.appendChild(script);
    });
  });
}());
