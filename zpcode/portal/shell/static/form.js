/* Counts characters, shows photos, sends a form only once. Forms work without it. */
(function () {
  'use strict';
  var errors = document.getElementById('errors');
  if (errors) { errors.focus(); }
  var form = document.querySelector('form[data-sending]');
  if (!form) { return; }

  function addAfter(before, tag, name) {
    var added = document.createElement(tag);
    added.className = name;
    return before.parentNode.insertBefore(added, before.nextSibling);
  }

  [].forEach.call(form.querySelectorAll('[data-count]'), function (text) {
    var line = addAfter(text, 'p', 'small');
    line.setAttribute('role', 'status');
    text.oninput = function () {
      var left = text.maxLength - text.value.length;
      line.textContent = left < 200 ? text.getAttribute('data-count').replace('{n}', left) : '';
    };
    text.oninput();
  });

  [].forEach.call(form.querySelectorAll('[data-most]'), function (input) {
    var line = addAfter(input, 'p', 'small'), shots = addAfter(line, 'div', 'shots');
    line.setAttribute('role', 'status');
    input.onchange = function () {
      var files = input.files || [], wrong = '', image, i;
      shots.innerHTML = '';
      if (files.length > +input.getAttribute('data-most')) { wrong = input.getAttribute('data-many'); }
      for (i = 0; i < files.length; i++) {
        if (files[i].size > 1e7) { wrong = input.getAttribute('data-large') + ' ' + files[i].name; }
        image = shots.appendChild(document.createElement('img'));
        image.alt = files[i].name;
        image.src = URL.createObjectURL(files[i]);
      }
      line.textContent = wrong;
      if (wrong) { input.value = shots.innerHTML = ''; }
    };
  });

  var button = form.querySelector('button'), word = button.textContent;
  function sending(on) {
    button.disabled = on;
    button.textContent = on ? form.getAttribute('data-sending') : word;
  }
  form.onsubmit = function () { setTimeout(sending, 0, true); };
  window.onpageshow = function () { sending(false); };
}());
