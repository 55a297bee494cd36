// Keeps a page current: follows the collector's events, fetches the page again when it was made from other figures, and
// changes in place what differs. Focus, scroll position, opened details and selections stay where they are.
"use strict";

// How long nothing may be heard before the page says that it stands still; the collector is heard every 15 s.
const SILENCE_MS = 45_000;
// How long a broken connection may take to come back before the page says so.
const BREAK_MS = 10_000;
// How long to wait when the collector has no place for one more follower.
const RETRY_MS = 30_000;

const kind = document.body.dataset.refresh;
const script = document.querySelector("script[src]").getAttribute("src");
const connection = document.getElementById("connection");
const said = document.getElementById("said");
let events = null;
let silence = 0;
let broken = false;
let retry = 0;
let fetching = false;
let again = false;

function expectWithin(ms) {
  clearTimeout(silence);
  silence = setTimeout(() => {
    const time = new Date().toLocaleTimeString();
    connection.textContent = `Not connected to the collector since ${time}: the figures below stand still.`;
  }, ms);
}

function follow() {
  leave();
  events = new EventSource("/events");
  if (!broken) expectWithin(SILENCE_MS);
  events.onmessage = (event) => {
    connection.textContent = "";
    broken = false;
    expectWithin(SILENCE_MS);
    const marks = JSON.parse(event.data);
    if (marks[kind] !== document.querySelector("main").dataset.mark) refresh();
  };
  events.onerror = () => {
    // Every attempt to come back fails anew; the first failure counts.
    if (!broken) expectWithin(BREAK_MS);
    broken = true;
    if (events.readyState === EventSource.CLOSED) retry = setTimeout(follow, RETRY_MS);
  };
}

function leave() {
  if (document.hidden) clearTimeout(silence);
  clearTimeout(retry);
  if (events) events.close();
  events = null;
}

// One fetch at a time; what is told meanwhile makes one more.
async function refresh() {
  again = fetching;
  if (fetching) return;
  fetching = true;
  try {
    const answer = await fetch(location.href, { cache: "no-store" });
    const html = await answer.text();
    if (answer.status < 500) show(new DOMParser().parseFromString(html, "text/html"));
  } catch {
    // The next event tries again.
  } finally {
    fetching = false;
  }
  if (again) refresh();
}

function show(fresh) {
  // Another version of the collector has another script: the page begins anew.
  const theirs = fresh.querySelector("script[src]");
  if (!theirs || theirs.getAttribute("src") !== script) return location.reload();
  const before = statuses();
  for (const part of ["title", ".asof", "main"]) {
    const [ours, theirs] = [document, fresh].map((page) => page.querySelector(part));
    if (ours && theirs) morph(ours, theirs);
  }
  const news = [...statuses()].filter(([name, text]) => before.get(name) !== text);
  if (news.length > 0) said.textContent = news.map(([name, text]) => `${name}: ${text}`).join("; ");
}

// What is read out when it changes.
function statuses() {
  const all = [...document.querySelectorAll("[data-says]")];
  return new Map(all.map((element) => [element.dataset.says, element.textContent.trim()]));
}

// Makes a node equal to another, touching only what differs.
function morph(ours, theirs) {
  if (ours.nodeType !== theirs.nodeType || ours.nodeName !== theirs.nodeName) {
    ours.replaceWith(document.importNode(theirs, true));
    return;
  }
  if (ours.nodeType !== Node.ELEMENT_NODE) {
    if (ours.data !== theirs.data) ours.data = theirs.data;
    return;
  }
  const readers = (name) => name === "open";
  for (const { name } of [...ours.attributes]) {
    if (!theirs.hasAttribute(name) && !readers(name)) ours.removeAttribute(name);
  }
  for (const { name, value } of theirs.attributes) {
    if (ours.getAttribute(name) !== value && !readers(name)) ours.setAttribute(name, value);
  }
  const [old, fresh] = [[...ours.childNodes], [...theirs.childNodes]];
  fresh.forEach((node, index) => {
    if (index < old.length) morph(old[index], node);
    else ours.append(document.importNode(node, true));
  });
  old.slice(fresh.length).forEach((node) => node.remove());
}

// A page that nobody looks at holds no connection; browsers have six for a server.
document.addEventListener("visibilitychange", () => (document.hidden ? leave() : follow()));
addEventListener("pagehide", leave);
addEventListener("pageshow", (event) => event.persisted && follow());
if (!document.hidden) follow();
