// Adds to pages that are whole without it: copy buttons, the reader's own time, and news of the box as it comes.
"use strict";

for (const button of document.querySelectorAll("button.copy")) {
  button.hidden = false;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button.copy");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = "Copied";
  } catch {
    // Browsers write to the clipboard only over https: mark the text instead.
    getSelection().selectAllChildren(source);
    button.textContent = "Press Ctrl C";
  }
  setTimeout(() => (button.textContent = "Copy"), 2500);
});

// On a phone the navigation is wider than the screen. Only the bar is moved: browsers let a keyboard go on from whatever was
// scrolled into view, which would leave out the link to the content.
const here = document.querySelector("nav [aria-current]");
if (here) {
  const bar = here.closest("nav");
  const [link, frame] = [here.getBoundingClientRect(), bar.getBoundingClientRect()];
  bar.scrollLeft += link.left + link.width / 2 - (frame.left + frame.width / 2);
}

const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
function localise(within) {
  for (const time of within.querySelectorAll("time")) {
    const at = new Date(time.dateTime);
    if (!isNaN(at)) time.textContent = format.format(at);
  }
}
localise(document);

// The parts of this page that are drawn anew, unless somebody is busy in them.
async function refresh() {
  const address = new URL(location.href);
  address.searchParams.set("live", "");
  const answer = await fetch(address, { headers: { accept: "text/html" } });
  if (answer.redirected) return location.assign("/login");
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-part]")) {
    const news = fresh.getElementById(part.id);
    if (!news || part.contains(document.activeElement)) continue;
    localise(news);
    if (!part.isEqualNode(news)) part.replaceWith(news);
  }
}

const source = document.body.dataset.live;
if (source && document.querySelector("[data-part]")) {
  const events = new EventSource(source);
  let first = true;
  let last = 0;
  const soon = () => {
    // News may come in bursts: one look a second is enough.
    clearTimeout(last);
    last = setTimeout(() => refresh().catch(() => {}), 300);
  };
  // Times that pass are no news, and are shown to the minute.
  setInterval(soon, 60_000);
  events.addEventListener("status", () => (first ? (first = false) : soon()));
  events.addEventListener("error", () => document.body.classList.add("cut-off"));
  events.addEventListener("open", () => {
    if (document.body.classList.contains("cut-off")) soon();
    document.body.classList.remove("cut-off");
  });
}
