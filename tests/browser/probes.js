/* What the browser tests ask of a page. Evaluated into the page as `probe`; every answer is plain data. */
window.probe = (() => {
  const pen = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const colours = new Map();

  /* Any CSS colour as [r, g, b, a], a between 0 and 1. */
  function colour(text) {
    if (!colours.has(text)) {
      pen.clearRect(0, 0, 1, 1);
      pen.fillStyle = text;
      pen.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
      colours.set(text, [r, g, b, a / 255]);
    }
    return colours.get(text);
  }

  function over(front, back) {
    return [0, 1, 2].map((i) => front[i] * front[3] + back[i] * (1 - front[3])).concat(1);
  }

  function luminance(rgb) {
    const [r, g, b] = rgb.slice(0, 3).map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }

  function ratio(one, other) {
    const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
  }

  /* What stands behind an element's text. Pictures and gradients behind text are not looked into: there are to be none. */
  function ground(element) {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      const found = colour(getComputedStyle(at).backgroundColor);
      if (found[3] > 0) layers.push(found);
      if (found[3] === 1) break;
    }
    const dark = matchMedia('(prefers-color-scheme: dark)').matches && !matchMedia('print').matches;
    return layers.reduceRight((back, front) => over(front, back), dark ? [18, 18, 18, 1] : [255, 255, 255, 1]);
  }

  function name(element) {
    const id = element.id ? `#${element.id}` : '';
    const classes = typeof element.className === 'string' && element.className ? `.${element.className.trim().split(/\s+/).join('.')}` : '';
    return `${element.tagName.toLowerCase()}${id}${classes} "${(element.textContent || element.value || '').trim().slice(0, 24)}"`;
  }

  function seen(element) {
    return element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && element.getClientRects().length > 0;
  }

  /* Hidden for the eye and left to screen readers: clipped to a pixel. */
  function clipped(element) {
    for (let at = element; at; at = at.parentElement) {
      const box = at.getBoundingClientRect();
      const style = getComputedStyle(at);
      if (style.overflow !== 'visible' && box.width <= 1 && box.height <= 1) return true;
      if (style.position === 'absolute' && box.right < 0) return true;
    }
    return false;
  }

  function ownText(element) {
    return [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data).join('').trim();
  }

  function speaking() {
    return [...document.body.querySelectorAll('*')].filter(
      (element) => !['SCRIPT', 'STYLE', 'NOSCRIPT', 'TITLE', 'DESC'].includes(element.tagName.toUpperCase())
        && ownText(element) && seen(element) && !clipped(element)
    );
  }

  /* Texts too faint to read: WCAG 1.4.3, for HTML and for SVG text. */
  function faint() {
    return speaking().flatMap((element) => {
      const style = getComputedStyle(element);
      const drawn = element instanceof SVGElement;
      const back = ground(element);
      const ink = over(colour(drawn ? style.fill : style.color), back);
      const size = parseFloat(style.fontSize);
      const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
      const found = ratio(ink, back);
      return found >= (large ? 3 : 4.5) ? [] : [`${name(element)}: ${found.toFixed(2)}`];
    });
  }

  /* Lines of drawings too faint to see: WCAG 1.4.11. */
  function faintDrawings() {
    return [...document.querySelectorAll('svg[role=img] *')].filter(seen).flatMap((element) => {
      const style = getComputedStyle(element);
      const back = ground(element.ownerSVGElement);
      const inks = [style.stroke, style.fill].filter((text) => text !== 'none').map((text) => over(colour(text), back));
      if (!inks.length || element.hasAttribute('data-decor') || ownText(element)) return [];
      return Math.max(...inks.map((ink) => ratio(ink, back))) >= 3 ? [] : [`${name(element)} ${element.outerHTML.slice(0, 80)}`];
    });
  }

  function tight() {
    return speaking().filter((element) => !(element instanceof SVGElement)).flatMap((element) => {
      const style = getComputedStyle(element);
      const found = style.lineHeight === 'normal' ? 1.2 : parseFloat(style.lineHeight) / parseFloat(style.fontSize);
      return found >= 1.299 ? [] : [`${name(element)}: ${found.toFixed(2)}`];
    });
  }

  /* WCAG 2.5.8's exception: a link within a sentence. The words of its block that no link holds must contain a letter. */
  function inSentence(element) {
    if (getComputedStyle(element).display !== 'inline') return false;
    let block = element.parentElement;
    while (getComputedStyle(block).display === 'inline') block = block.parentElement;
    const links = [...block.querySelectorAll('a, button')].map((each) => each.textContent).join('');
    return (block.textContent.match(/\p{L}/gu) || []).length > (links.match(/\p{L}/gu) || []).length;
  }

  function box(element) {
    const label = /^(checkbox|radio)$/.test(element.type) && element.closest('label');
    const rects = [...(label || element).getClientRects()];
    const edge = (side, pick) => pick(...rects.map((rect) => rect[side]));
    return [edge('right', Math.max) - edge('left', Math.min), edge('bottom', Math.max) - edge('top', Math.min)];
  }

  const TARGETS = 'a[href], button, input:not([type=hidden]), select, textarea, summary, [role=button]';

  function small() {
    return [...document.querySelectorAll(TARGETS)].filter((each) => seen(each) && !inSentence(each)).flatMap((each) => {
      each.focus();
      const [width, height] = box(each);
      each.blur();
      return width >= 43.99 && height >= 43.99 ? [] : [`${name(each)}: ${width.toFixed(0)}×${height.toFixed(0)}`];
    });
  }

  function offLimits(element) {
    const holder = element.closest('.wide');
    return holder !== null && holder !== element && getComputedStyle(holder).overflowX !== 'visible';
  }

  /* What reaches beyond the window's edge, or is cut off inside a box. Only `.wide` may scroll sideways. */
  function wide() {
    const width = document.documentElement.clientWidth;
    const beyond = [...document.body.querySelectorAll('*')].filter(
      (each) => seen(each) && !clipped(each) && !offLimits(each) && each.getBoundingClientRect().right > width + 0.5
    );
    const cut = [...document.body.querySelectorAll('*')].filter((each) => {
      const style = getComputedStyle(each);
      return seen(each) && !clipped(each) && !each.matches('.wide, input, textarea, select') && style.overflowX !== 'visible'
        && style.display !== 'inline' && each.scrollWidth > each.clientWidth + 1;
    });
    const scrolls = document.scrollingElement.scrollWidth > width ? [`the page: ${document.scrollingElement.scrollWidth}`] : [];
    return scrolls.concat(beyond.slice(0, 5).map((each) => `beyond: ${name(each)}`), cut.map((each) => `cut: ${name(each)}`));
  }

  function headings() {
    return [...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].filter(seen).map((each) => [Number(each.tagName[1]), each.textContent.trim()]);
  }

  /* Pictures that would shift the page, or are fetched before they are needed. */
  function pictures() {
    return [...document.images].flatMap((each) => {
      const told = [];
      if (!(each.getAttribute('width') > 0 && each.getAttribute('height') > 0)) told.push('no size');
      if (each.getBoundingClientRect().top + scrollY >= innerHeight && each.loading !== 'lazy') told.push('not lazy');
      if (!each.hasAttribute('alt')) told.push('no alt');
      return told.map((fault) => `${each.getAttribute('src')}: ${fault}`);
    });
  }

  function stops() {
    return [...document.querySelectorAll(`${TARGETS}, [tabindex]`)].filter((each) => seen(each) && each.tabIndex >= 0).map(name);
  }

  /* The next Tab begins before everything. */
  function atTheTop() {
    const mark = document.createElement('span');
    mark.tabIndex = -1;
    document.body.prepend(mark);
    mark.focus();
    mark.remove();
  }

  /* The element that has the focus, and whether one can see that: an outline of 2 px that stands out 3:1 (WCAG 2.4.13). */
  function focused() {
    const each = document.activeElement;
    if (each === document.body || each === null) return null;
    const style = getComputedStyle(each);
    const back = ground(each.parentElement);
    const rect = each.getBoundingClientRect();
    return {
      name: name(each),
      outline: style.outlineStyle === 'none' ? 0 : parseFloat(style.outlineWidth),
      contrast: ratio(over(colour(style.outlineColor), back), back),
      top: rect.top + scrollY,
      visible: rect.bottom > 0 && rect.top < innerHeight && rect.right > 0 && rect.left < innerWidth,
    };
  }

  /* Tags, classes and attribute names in order: what a text must not be able to change. */
  function skeleton() {
    return [...document.querySelectorAll('*')].map(
      (each) => `${each.tagName}.${each.getAttribute('class') || ''}[${each.getAttributeNames().sort().join(' ')}]`
    );
  }

  function moving() {
    const none = (text) => text.split(',').every((part) => parseFloat(part) === 0);
    return [...document.querySelectorAll('*')].flatMap((each) => {
      const style = getComputedStyle(each);
      return none(style.transitionDuration) && (style.animationName === 'none' || none(style.animationDuration)) && style.scrollBehavior !== 'smooth'
        ? [] : [name(each)];
    });
  }

  /* The page's lines as they are read, without what only a script can do (its controls and what they say). */
  function lines() {
    const hidden = [...document.querySelectorAll('button[type=button], [role=status], [role=alert]')].filter((each) => each.style);
    const before = hidden.map((each) => each.style.display);
    hidden.forEach((each) => { each.style.display = 'none'; });
    const found = document.body.innerText.split('\n').map((line) => line.replace(/\s+/g, ' ').trim()).filter(Boolean);
    hidden.forEach((each, at) => { each.style.display = before[at]; });
    return found;
  }

  /* Through the page and back, so that whatever waits to be seen is fetched. */
  async function scrolled() {
    const drawn = () => new Promise((done) => { requestAnimationFrame(() => requestAnimationFrame(done)); });
    for (let top = 0; top < Math.min(document.body.scrollHeight, 20 * innerHeight); top += innerHeight) {
      scrollTo(0, top);
      await drawn();
    }
    scrollTo(0, 0);
    await drawn();
  }

  /* Every text that stands in the page itself, node by node; not what can be pressed, nor what is for the eye alone. */
  function words() {
    return speaking().filter((each) => !each.closest('a, button, label, summary, nav, [aria-hidden=true]')).flatMap(
      (each) => [...each.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data.replace(/\s+/g, ' ').trim())
    ).filter(Boolean);
  }

  return { scrolled, words, faint, faintDrawings, tight, small, wide, headings, pictures, stops, atTheTop, focused, skeleton, moving, lines };
})();
