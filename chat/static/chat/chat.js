/* The chat page: sends messages, watches running replies, keeps drafts, and says aloud what happens.
   Words come from the page's data attributes, so that they are translated. */

import { follow } from "./reply.js";

const form = document.querySelector("#composer");
const text = form.elements.text;
const send = form.querySelector("#send");
const stop = form.querySelector("#stop");
const transcript = document.querySelector("#transcript");
const announcer = document.querySelector("#announcer");
const problem = document.querySelector("#problem");
const words = form.dataset;
const STILL_MS = 7000;
const DRAFT = "sluice-draft:";

/* --- Talking to the server ------------------------------------------------------------------- */

/* Read anew each time: becoming a guest, logging in and logging out change it. */
const csrfToken = () => document.cookie.match(/(?:^|; )csrftoken=([^;]*)/)?.[1] ?? "";

/* The server's answer; throws an Error whose message is for the person. */
async function post(url, fields = new URLSearchParams()) {
  const headers = { Accept: "application/json", "X-CSRFToken": csrfToken() };
  const response = await fetch(url, { method: "POST", body: fields, headers }).catch(() => {
    throw new Error(words.offline);
  });
  const json = response.headers.get("content-type")?.includes("json") ? await response.json() : {};
  if (!response.ok) throw new Error(json.error ?? words.problem);
  return json;
}

document.addEventListener("htmx:configRequest", (event) => (event.detail.headers["X-CSRFToken"] = csrfToken()));
for (const name of ["htmx:responseError", "htmx:sendError"]) {
  document.addEventListener(name, () => complain(words.problem));
}

/* What a rating asks next must not come up behind the composer. */
document.addEventListener("htmx:afterSwap", ({ target }) => {
  target.querySelector(".reasons")?.scrollIntoView({ block: "nearest", behavior: "instant" });
});

/* Plain forms were rendered with the token of that time. */
document.addEventListener(
  "submit",
  ({ target }) => {
    const token = target.elements.csrfmiddlewaretoken;
    if (token) token.value = csrfToken();
    if (target.id === "logout") drafts.clear();
  },
  true,
);

/* --- Drafts ---------------------------------------------------------------------------------- */

const drafts = {
  key: () => DRAFT + (form.elements.conversation.value || "new"),
  load: () => localStorage.getItem(drafts.key()) ?? "",
  save: () => (text.value ? localStorage.setItem(drafts.key(), text.value) : localStorage.removeItem(drafts.key())),
  clear: () => {
    for (const key of Object.keys(localStorage)) if (key.startsWith(DRAFT)) localStorage.removeItem(key);
  },
};

/* --- What the page shows --------------------------------------------------------------------- */

let busy = false;
let path = location.pathname;
const running = () => transcript.querySelector("[data-stream]");

function refresh() {
  const stoppable = Boolean(running());
  send.disabled = busy || stoppable || !text.value.trim();
  if (!stoppable && document.activeElement === stop) text.focus();
  stop.hidden = !stoppable;
  text.readOnly = busy;
}

function complain(message) {
  problem.textContent = message;
}

let lastSaid = "";

/* A status that doesn't change isn't read out, so the same words again get a space that can't be seen. */
function announce(message) {
  lastSaid = lastSaid === message ? `${message}\u00a0` : message;
  announcer.textContent = lastSaid;
}

function toEnd() {
  scrollTo({ top: document.documentElement.scrollHeight, behavior: "instant" });
}

/* Follow the text only while the reader is at its end. */
function change(work) {
  const page = document.documentElement;
  const atEnd = page.scrollHeight - page.scrollTop - page.clientHeight < 60;
  work();
  if (atEnd) toEnd();
}

function watch(article) {
  announce(words.generating);
  const still = setInterval(() => announce(words.still), STILL_MS);
  follow(article, {
    change,
    end(state) {
      clearInterval(still);
      announce(words[state] ?? words.failed);
      refresh();
    },
  });
  refresh();
}

/* --- Sending, stopping, trying again --------------------------------------------------------- */

let attempted;

/* One id for one text: sent twice, because an answer got lost, it is still one message. */
function clientId() {
  if (attempted !== text.value) {
    attempted = text.value;
    // crypto.randomUUID() is only there on HTTPS and localhost.
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    form.elements.client_id.value = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  }
}

async function ask() {
  if (busy || running() || !text.value.trim()) return;
  clientId();
  const fields = new URLSearchParams(new FormData(form));
  fields.delete("csrfmiddlewaretoken");
  text.focus();
  await act(async () => {
    const answer = await post(form.action, fields);
    attempted = undefined;
    text.value = "";
    drafts.save();
    arrive(answer.conversation);
    transcript.insertAdjacentHTML("beforeend", answer.html);
    toEnd();
    if (running()) watch(running());
  });
}

/* Do something that may fail in words, with the composer held meanwhile. */
async function act(work) {
  busy = true;
  complain("");
  refresh();
  try {
    await work();
  } catch (error) {
    complain(error.message);
  } finally {
    busy = false;
    refresh();
  }
}

/* A first message makes the chat: from here on this page is the chat's page. */
function arrive({ id, url, title }) {
  if (!form.elements.conversation.value) {
    form.elements.conversation.value = id;
    history.pushState(null, "", url);
    path = url;
    document.title = `${title} · Sluice`;
    document.querySelector("h1").textContent = title;
    document.querySelector("#welcome").remove();
  }
  window.htmx?.ajax("GET", `${words.history}?current=${id}`, "#history");
}

function retry(button) {
  button.disabled = true;
  text.focus();
  act(async () => {
    const answer = await post(button.dataset.retry);
    button.closest("article").outerHTML = answer.html;
    if (running()) watch(running());
  }).finally(() => (button.disabled = false));
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});

stop.addEventListener("click", () => {
  stop.disabled = true;
  post(running().dataset.stop)
    .catch((error) => complain(error.message))
    .finally(() => (stop.disabled = false));
});

text.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  ask();
});

text.addEventListener("input", () => {
  drafts.save();
  refresh();
});

document.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-retry], [data-suggestion]");
  if (button?.dataset.retry) retry(button);
  else if (button) {
    text.value = button.textContent;
    ask();
  }
});

/* Back to another page without a load: show what belongs to it. (The skip link stays on this page.) */
addEventListener("popstate", () => {
  if (location.pathname !== path) location.reload();
});

/* --- On load --------------------------------------------------------------------------------- */

text.value ||= drafts.load();
for (const article of transcript.querySelectorAll("[data-stream]")) watch(article);
if (transcript.children.length) toEnd();
refresh();
