// Progressive enhancement: every page works without this.
"use strict";
(() => {
  const main = document.querySelector("main[data-live]");
  if (!main || !("EventSource" in window)) return;
  let due = false;
  let busy = false;
  let pressed = false;
  for (const [kind, is] of [["pointerdown", true], ["pointerup", false], ["pointercancel", false]]) {
    window.addEventListener(kind, () => { pressed = is; }, { capture: true, passive: true });
  }

  // Whoever types, chooses, presses or reads what is folded out is not disturbed.
  const inUse = () => {
    const at = document.activeElement;
    const typing = at && main.contains(at) && /^(INPUT|SELECT|TEXTAREA)$/.test(at.tagName);
    return document.hidden || pressed || typing || main.querySelector("details[open]") !== null
      || String(window.getSelection()) !== "";
  };

  const renew = async () => {
    if (busy || !due || inUse()) return;
    due = false;
    busy = true;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      if (!answer.ok || answer.redirected) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("main[data-live]");
      if (!fresh || inUse()) return;
      main.dataset.renewed = String(Number(main.dataset.renewed || 0) + 1);
      if (fresh.innerHTML === main.innerHTML) return;
      const focused = document.activeElement && main.contains(document.activeElement)
        ? [...main.querySelectorAll("a, button")].indexOf(document.activeElement) : -1;
      main.replaceChildren(...fresh.childNodes);
      if (focused >= 0) [...main.querySelectorAll("a, button")][focused]?.focus({ preventScroll: true });
    } finally {
      busy = false;
    }
  };

  const live = new EventSource(main.dataset.live);
  live.addEventListener("changed", () => { due = true; renew(); });
  window.addEventListener("pagehide", () => live.close());
  setInterval(renew, 1000);
})();
