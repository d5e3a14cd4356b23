/* One running reply: listens to its events and shows them in its article.
   Knows the markup of a message; knows nothing of the composer. It renders no markdown: blocks come as HTML. */

const PATIENCE_MS = 2000; // how long a lost connection goes unmentioned
const LONGEST_PAUSE_MS = 10_000;
const TRIES = 8;

/* Make `container` hold `blocks` from block `start` on. Blocks that have not changed keep their nodes, and so
   what is selected in them. */
function patch(container, start, blocks) {
  blocks.forEach((html, index) => {
    const fresh = document.createElement("div");
    fresh.className = "block";
    fresh.dir = "auto";
    fresh.innerHTML = html;
    const old = container.children[start + index];
    if (!old) container.append(fresh);
    else if (!old.isEqualNode(fresh)) old.replaceWith(fresh);
  });
  while (container.children.length > start + blocks.length) container.lastElementChild.remove();
}

/* Put the finished message's markup around the blocks that are already there. */
function settle(article, html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  const final = template.content.querySelector("article");
  if (!final) return article.remove(); // the chat was deleted meanwhile
  for (const name of article.getAttributeNames()) if (!final.hasAttribute(name)) article.removeAttribute(name);
  for (const { name, value } of final.attributes) article.setAttribute(name, value);
  patch(article.querySelector(".blocks"), 0, [...final.querySelector(".blocks").children].map((block) => block.innerHTML));
  article.querySelector(".after").replaceWith(final.querySelector(".after"));
  window.htmx?.process(article);
}

/* Follow a running reply to its end. `change(work)` wraps whatever changes the page's height; `end(state)` comes once,
   with "complete", "stopped", "failed" or "lost". */
export function follow(article, { change, end }) {
  const shown = article.querySelector(".blocks");
  const lost = article.querySelector("[data-lost]");
  let source, target, patience;
  let tries = 0;

  /* A stream from the start tells again what the page shows already: it is caught up with out of sight first, so
     that text never shrinks. */
  function connect() {
    target = shown.children.length ? document.createElement("div") : shown;
    source = new EventSource(article.dataset.stream);
    for (const [name, handle] of Object.entries({ blocks, reasoning, done })) {
      source.addEventListener(name, (event) => change(() => handle(JSON.parse(event.data))));
    }
    source.addEventListener("open", connected);
    source.addEventListener("error", disconnected);
  }

  function blocks({ start, blocks }) {
    patch(target, start, blocks);
    if (target !== shown && target.textContent.length >= shown.textContent.length) {
      patch(shown, 0, [...target.children].map((block) => block.innerHTML));
      target = shown;
    }
  }

  function reasoning({ text }) {
    const details = article.querySelector(".reasoning");
    details.hidden = false;
    details.querySelector(".text").textContent = text;
  }

  function done({ state, html }) {
    source.close();
    clearTimeout(patience);
    settle(article, html);
    end(state);
  }

  function connected() {
    tries = 0;
    clearTimeout(patience);
    patience = undefined;
    lost.hidden = true;
  }

  /* The browser reconnects by itself, except after an answer that was no stream. */
  function disconnected() {
    patience ??= setTimeout(() => change(() => (lost.hidden = false)), PATIENCE_MS);
    if (source.readyState !== EventSource.CLOSED) return;
    if (tries < TRIES) {
      setTimeout(connect, Math.min(LONGEST_PAUSE_MS, 500 * 2 ** tries++));
    } else {
      clearTimeout(patience);
      lost.textContent = lost.dataset.gone;
      lost.hidden = false;
      end("lost");
    }
  }

  connect();
}
