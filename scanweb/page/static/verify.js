/* Verifies the seal in the browser as keys/keyring.py does: keyring -> root signature -> key id -> signature over the path.
   page.js fetches it when the reader presses the button. ES5, for old WebViews. All texts are in the page. */
(function () {
  'use strict';
  var section = document.getElementById('verify'), subtle = (window.crypto || {}).subtle, busy = false, otherwise;
  var BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
  var HALF_N = '7fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a8';
  /* Key id, signature, signed path: as strict as zpcode/wire/link.py. Letters of seal and serial may be upper or lower case. */
  var CODE = /^\/([A-Za-z2-7]{4})([A-Za-z2-7]{103})(\/01\/\d{14}(?:\/10\/[\dA-Z.\-]{1,20}|\/21\/[\dA-HJKMNP-TV-Za-hjkmnp-tv-z]{12})?)$/;

  function one(query) { return section.querySelector(query); }
  function refuse(name) { throw name; }
  function say(name) {
    var word = one('[data-word=' + name + ']'), said = one('[data-part=said]');
    said.setAttribute('data-tone', word.getAttribute('data-tone'));
    said.textContent = word.textContent;
  }
  function step(name) {
    var item = one('[data-step=' + name + ']');
    item.hidden = item.parentNode.hidden = false;
  }
  function latin(raw) {
    var bytes = new Uint8Array(raw.length), i;
    for (i = 0; i < raw.length; i += 1) { bytes[i] = raw.charCodeAt(i); }
    return bytes;
  }
  function utf8(text) { return latin(unescape(encodeURIComponent(text))); }
  function base64(text) {
    return latin(atob(text.replace(/-/g, '+').replace(/_/g, '/') + '==='.slice((text.length + 3) % 4)));
  }
  function base32(text) {
    var bytes = new Uint8Array(text.length * 5 >> 3), buffer = 0, bits = 0, at = 0, i;
    for (i = 0; i < text.length; i += 1) {
      buffer = (buffer << 5 | BASE32.indexOf(text.charAt(i))) & 4095;
      bits += 5;
      if (bits > 7) { bits -= 8; bytes[at] = buffer >> bits; at += 1; }
    }
    if (buffer & (1 << bits) - 1) { refuse('seal'); } /* spare bits are zero: a seal has only one text */
    return bytes;
  }
  function lowS(signature) {
    var hex = '', i;
    for (i = 32; i < 64; i += 1) { hex += (256 + signature[i]).toString(16).slice(1); }
    return signature.length === 64 && hex <= HALF_N;
  }
  function canonical(value) { /* RFC 8785, for the values a keyring may have */
    if (value instanceof Array) { return '[' + value.map(canonical).join(',') + ']'; }
    if (!value || typeof value !== 'object') { return JSON.stringify(value); }
    return '{' + Object.keys(value).sort().map(function (name) {
      return JSON.stringify(name) + ':' + canonical(value[name]);
    }).join(',') + '}';
  }
  function imported(spki) {
    return subtle.importKey('spki', spki, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['verify']);
  }
  function fits(key, signature, text) {
    return lowS(signature) && subtle.verify({ name: 'ECDSA', hash: { name: 'SHA-256' } }, key, signature, utf8(text));
  }
  function idOf(spki) {
    return subtle.digest({ name: 'SHA-256' }, spki).then(function (digest) {
      var d = new Uint8Array(digest), bits = d[0] << 12 | d[1] << 4 | d[2] >> 4;
      return [15, 10, 5, 0].map(function (shift) { return BASE32.charAt(bits >> shift & 31); }).join('');
    });
  }
  function fetched(url) {
    return new Promise(function (resolve, reject) {
      var request = new XMLHttpRequest();
      request.open('GET', url);
      request.timeout = 15000;
      request.onload = function () { if (request.status === 200) { resolve(request.responseText); } else { reject(); } };
      request.onerror = request.ontimeout = reject;
      request.send();
    });
  }
  function vouched(text, rootKey, rootId) {
    var ring = JSON.parse(text), signature = ring.signature;
    delete ring.signature;
    if (signature.alg !== 'ES256' || signature.root !== rootId) { refuse('root'); }
    return Promise.resolve(fits(rootKey, base64(signature.value), 'zpcode-keyring/1\n' + canonical(ring))).then(
      function (right) { return right ? ring : refuse('root'); }
    );
  }
  function spkiOf(point, prefix) {
    var spki = new Uint8Array(91), x = base64(point.x), y = base64(point.y);
    if (x.length !== 32 || y.length !== 32) { refuse('key'); }
    spki.set(prefix);
    spki.set(x, 27);
    spki.set(y, 59);
    return spki;
  }
  function verified(code) {
    var rootSpki = base64(section.getAttribute('data-root')), rootKey, rootId, key, spki;
    return imported(rootSpki).then(function (cryptoKey) {
      rootKey = cryptoKey;
      return idOf(rootSpki);
    }).then(function (id) {
      rootId = id;
      otherwise = 'away';
      return fetched(section.getAttribute('data-keyring'));
    }).then(function (text) {
      step('keyring');
      otherwise = 'root';
      return vouched(text, rootKey, rootId);
    }).then(function (ring) {
      key = ring.keys.filter(function (each) { return each.id === code[1] && (each.purpose || 'codes') === 'codes'; })[0];
      step('root');
      otherwise = 'key';
      if (!key) { refuse('unknown'); }
      if (ring.version !== 1 || key.suite !== 'ES256') { refuse('unable'); }
      spki = spkiOf(key.public, rootSpki.subarray(0, 27));
      return idOf(spki);
    }).then(function (id) {
      if (id !== key.id) { refuse('key'); }
      return imported(spki);
    }).then(function (cryptoKey) {
      step('key');
      return fits(cryptoKey, base32(code[2]), 'zpcode/1\n' + code[1] + '\n' + code[3]);
    }).then(function (right) {
      if (!right) { refuse('seal'); }
      step('seal');
      if (key.state === 'revoked' || section.hasAttribute('data-revoked')) { refuse('revoked'); }
      return Date.parse(key.not_before) > Date.now() ? 'early' : 'right';
    });
  }
  function report(outcome) {
    busy = false;
    say(typeof outcome === 'string' ? outcome : otherwise);
  }
  function begin() {
    var code = CODE.exec(location.pathname), shown = document.querySelector('[data-code]');
    if (!code) { refuse('seal'); }
    code = code.map(function (part) { return part.toUpperCase(); });
    if (code[3] !== shown.textContent.trim()) { refuse('other'); }
    verified(code).then(report, report);
  }
  function verify() {
    if (busy) { return; }
    busy = true;
    otherwise = 'unable';
    Array.prototype.forEach.call(section.querySelectorAll('[data-step]'), function (item) {
      item.hidden = item.parentNode.hidden = true;
    });
    say('busy');
    try { begin(); } catch (outcome) { report(outcome); }
  }
  one('[data-part=host]').textContent = location.host;
  one('[data-do=verify]').addEventListener('click', verify);
  verify();
}());
