/* Runs before any script of the page and notes what a page of ours must never do. */
(() => {
  const noted = [];
  const note = (what) => { noted.push(what); };
  let shift = 0;
  const ask = (holder, method) => {
    if (holder && holder[method]) holder[method] = (...told) => { note(`${method}(${told.map(String)})`); };
  };
  addEventListener('securitypolicyviolation', (event) => note(`policy: ${event.violatedDirective} ${event.blockedURI}`));
  ['alert', 'confirm', 'prompt'].forEach((method) => ask(window, method));
  ask(navigator.geolocation && Geolocation.prototype, 'getCurrentPosition');
  ask(navigator.geolocation && Geolocation.prototype, 'watchPosition');
  ask(window.Permissions && Permissions.prototype, 'request');
  ask(window.Notification, 'requestPermission');
  ask(window.MediaDevices && MediaDevices.prototype, 'getUserMedia');
  ask(window.ServiceWorkerContainer && ServiceWorkerContainer.prototype, 'register');
  ask(navigator, 'sendBeacon');
  new PerformanceObserver((list) => { list.getEntries().forEach((entry) => { shift += entry.value; }); }).observe({ type: 'layout-shift', buffered: true });
  window.witness = () => ({
    noted,
    shift,
    cookie: document.cookie,
    stored: localStorage.length + sessionStorage.length,
  });
})();
