// What the console does beyond plain pages and forms: it keeps its panels fresh, and shows forms in a dialog.
// Without this script everything works all the same, page by page.
"use strict";

const RETRY_MS = 2000;
const dialog = document.getElementById("dialog");
let opener = null; // the order's link, and its panel, for where the focus goes afterwards

// Panels

function show(name, html) {
  const focused = document.activeElement;
  Idiomorph.morph(document.getElementById(name), html);
  if (focused !== document.body && !focused.isConnected) document.getElementById(name).focus();
}

function setLive(isLive) {
  document.body.dataset.live = isLive ? "on" : "off";
  document.getElementById("live").textContent = isLive ? "Live" : "Not live: connecting again";
}

function connect() {
  const source = new EventSource("/console/events");
  source.addEventListener("open", () => setLive(true));
  source.addEventListener("panel", (event) => {
    const { name, html } = JSON.parse(event.data);
    show(name, html);
  });
  source.addEventListener("over", () => location.reload());
  source.addEventListener("error", () => {
    setLive(false);
    if (source.readyState === EventSource.CLOSED) setTimeout(connectAgain, RETRY_MS);
  });
}

async function connectAgain() {
  try {
    const page = await read(await fetch("/"));
    if (page.getElementById("notice")) connect();
    else location.reload(); // no longer logged in
  } catch {
    setTimeout(connectAgain, RETRY_MS);
  }
}

// Orders

async function read(answer) {
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

async function openOrder(link) {
  const form = (await read(await fetch(link.href))).getElementById("order");
  if (!form) return location.reload();
  opener = { link, panel: link.closest("section") };
  dialog.replaceChildren(form);
  dialog.showModal();
}

async function giveOrder(form) {
  for (const button of form.querySelectorAll("button")) button.disabled = true;
  const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
  const page = await read(answer);
  const again = page.getElementById("order");
  if (again) {
    dialog.replaceChildren(again);
    (again.querySelector("[aria-invalid]") ?? document.getElementById("order-problem")).focus();
    return;
  }
  const notice = page.getElementById("notice");
  if (!notice) return location.reload();
  dialog.close();
  document.getElementById("notice").replaceChildren(...notice.childNodes);
  for (const panel of page.querySelectorAll("main > section")) show(panel.id, panel.outerHTML);
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (link.matches(".order")) {
    event.preventDefault();
    openOrder(link).catch(() => (location.href = link.href));
  } else if (link.matches("dialog .cancel")) {
    event.preventDefault();
    dialog.close();
  }
});

dialog.addEventListener("submit", (event) => {
  event.preventDefault();
  giveOrder(event.target).catch(() => location.reload());
});

dialog.addEventListener("close", () => {
  dialog.replaceChildren();
  (opener.link.isConnected ? opener.link : opener.panel).focus();
});

connect();
