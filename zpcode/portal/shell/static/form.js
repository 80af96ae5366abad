/* Counts characters, shows photos, keeps a form from going twice; all else works without. */
(function () {
  'use strict';
  var errors = document.getElementById('errors');
  if (errors) { errors.focus(); }
  var form = document.querySelector('form[data-sending]');
  if (!form) { return; }

  function line(after) {
    var made = document.createElement('p');
    made.className = 'small';
    made.setAttribute('role', 'status');
    after.parentNode.insertBefore(made, after.nextSibling);
    return made;
  }

  var text = document.getElementById('f-description');
  var left = line(text);
  function count() {
    var room = text.maxLength - text.value.length;
    left.textContent = room < 200 ? text.getAttribute('data-count').replace('{n}', room) : '';
  }
  text.addEventListener('input', count);
  count();

  var photos = document.getElementById('f-photos');
  var told = line(photos);
  var shots = document.createElement('div');
  shots.className = 'shots';
  told.parentNode.insertBefore(shots, told.nextSibling);
  photos.addEventListener('change', function () {
    var files = photos.files || [], wrong = '';
    shots.innerHTML = '';
    if (files.length > +photos.getAttribute('data-most')) { wrong = photos.getAttribute('data-many'); }
    for (var i = 0; i < files.length; i++) {
      if (files[i].size > 1e7) { wrong = photos.getAttribute('data-large') + ' ' + files[i].name; }
      var image = document.createElement('img');
      image.alt = files[i].name;
      image.src = URL.createObjectURL(files[i]);
      shots.appendChild(image);
    }
    told.textContent = wrong;
    if (wrong) { photos.value = ''; shots.innerHTML = ''; }
  });

  var button = form.querySelector('button'), word = button.textContent;
  function sending(on) {
    button.disabled = on;
    button.textContent = on ? form.getAttribute('data-sending') : word;
  }
  form.addEventListener('submit', function () { setTimeout(function () { sending(true); }, 0); });
  window.addEventListener('pageshow', function () { sending(false); });
}());
