// Citations of the page: the quote at hover and focus, the source in the drawer at a click, the answer that the address names in view.
// Texts arrive as data and become text nodes, never markup. Streamlit draws the links anew at will, so the listeners sit on the document.

const LINK = 'a[href^="?"][href*="source="]';
const LEAVE_MS = 200; // long enough to move the pointer onto the quote
const GAP = 6;
const HOLD_MS = 3000; // after the page is drawn, and after it was last scrolled by others
const MOST_MS = 15000; // after the page is drawn: who scrolls it still may be a reader whose tools raise no event
const RUNNING = '[data-testid="stApp"][data-test-script-state="running"]';

let shownAnswer = null; // across runs of the page: whoever has scrolled on is not pulled back

// Streamlit scrolls a chat to its end while it draws: what the address names is held in view until that is over or the reader moves.
const holdInView = (selector) => {
  let drawn = performance.now();
  let moved = drawn;
  const reader = new AbortController();
  const onMove = (event) => event.isTrusted && reader.abort();
  for (const name of ["wheel", "touchmove", "keydown", "pointerdown"]) {
    document.addEventListener(name, onMove, { capture: true, signal: reader.signal });
  }
  let left = null; // where the last step has put it
  const step = () => {
    const held = document.querySelector(selector);
    const now = performance.now();
    if (document.querySelector(RUNNING)) drawn = now; // a busy machine draws for longer
    if (held && left !== null && Math.abs(held.getBoundingClientRect().top - left) > 1) moved = now;
    if (now > Math.min(Math.max(drawn, moved) + HOLD_MS, drawn + MOST_MS)) reader.abort();
    if (reader.signal.aborted) return;
    held?.dispatchEvent(new WheelEvent("wheel", { bubbles: true })); // ends an animation to the chat's end, which would win
    held?.scrollIntoView({ block: "start" });
    left = held ? held.getBoundingClientRect().top : null;
    setTimeout(step, 100); // each frame would hide from us that we are moved
  };
  step();
};

export default function ({ data, parentElement, setTriggerValue }) {
  const tip = parentElement.querySelector(".lectern-quote");
  const [place, words] = tip.children;
  let current = null;
  let leaving = 0;

  const cited = (target) => {
    const link = target instanceof Element ? target.closest(LINK) : null;
    const source = link && data.sources[link.getAttribute("href")];
    return source ? { link, source } : null;
  };

  const move = () => {
    const at = current.getBoundingClientRect();
    const below = at.bottom + GAP + tip.offsetHeight < window.innerHeight;
    tip.style.top = `${Math.max(GAP, below ? at.bottom + GAP : at.top - GAP - tip.offsetHeight)}px`;
    tip.style.left = `${Math.max(GAP, Math.min(at.left, window.innerWidth - tip.offsetWidth - GAP))}px`;
  };
  const show = ({ link, source }) => {
    clearTimeout(leaving);
    current = link;
    link.setAttribute("aria-describedby", tip.id);
    place.textContent = source.place;
    words.textContent = source.quote;
    tip.hidden = false;
    move();
  };
  const hide = () => {
    clearTimeout(leaving);
    current?.removeAttribute("aria-describedby");
    current = null;
    tip.hidden = true;
  };

  const onEnter = (event) => {
    const found = cited(event.target);
    if (found) show(found);
    else if (tip.contains(event.target)) clearTimeout(leaving);
    else if (current && event.type === "mouseover") {
      clearTimeout(leaving);
      leaving = setTimeout(hide, LEAVE_MS);
    }
  };
  const onBlur = (event) => event.target === current && hide();
  const onKey = (event) => event.key === "Escape" && current && hide();
  // The focus itself scrolls what it goes to into view: the quote goes along, and goes away with its link.
  const onScroll = (event) => {
    if (!current || tip.contains(event.target)) return;
    const at = current.getBoundingClientRect();
    if (at.bottom < 0 || at.top > window.innerHeight) hide();
    else move();
  };
  const onClick = (event) => {
    const found = cited(event.target);
    if (!found || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return; // those open a new tab
    event.preventDefault();
    hide();
    setTriggerValue("opened", found.source.opens);
  };

  const listeners = [
    ["mouseover", onEnter],
    ["focusin", onEnter],
    ["focusout", onBlur],
    ["keydown", onKey],
    ["click", onClick],
    ["scroll", onScroll],
  ];
  for (const [name, listener] of listeners) document.addEventListener(name, listener, true);

  for (const link of document.querySelectorAll(LINK)) {
    const found = cited(link);
    if (found) link.setAttribute("aria-label", `Source ${found.source.number}, ${found.source.place}`);
  }
  if (data.answer && data.answer !== shownAnswer) {
    shownAnswer = data.answer;
    holdInView(`.st-key-answer-${CSS.escape(data.answer)}`);
  }

  return () => {
    hide();
    for (const [name, listener] of listeners) document.removeEventListener(name, listener, true);
  };
}
