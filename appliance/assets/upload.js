// Uploads files with progress: small ones in one go, large ones in parts, which go on where they broke off.
"use strict";

const MIB = 1 << 20;
// Larger files go in parts. A part is small enough to be sent again, and 10,000 of them are the most.
const SMALL = 16 * MIB;
const PART = 8 * MIB;
const PARTS = 9000;
// Parts on their way at once, and how often each is tried.
const AT_ONCE = 2;
const TRIES = 6;

const upload = document.querySelector("form[data-upload]");
const { upload: api, prefix, token } = upload.dataset;
const rows = document.getElementById("uploads");
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const query = (fields) => `?${new URLSearchParams(fields)}`;

class Refused extends Error {}

// One request. XMLHttpRequest, since fetch does not tell how much is sent.
function once(method, address, body, on) {
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    request.open(method, address);
    request.setRequestHeader("x-form-token", token);
    if (typeof body === "string") request.setRequestHeader("content-type", "application/json");
    request.upload.onprogress = (event) => on?.sent?.(event.loaded);
    request.onload = () => done(request);
    request.onerror = request.ontimeout = () => failed(new Error("The connection broke off."));
    request.onabort = () => failed(new Refused("Stopped."));
    on?.stop?.addEventListener("abort", () => request.abort(), { once: true });
    request.send(body);
  });
}

// A request, tried again while the box is busy or away.
async function ask(method, address, body, on) {
  for (let tried = 1; ; tried++) {
    let wait = Math.min(1000 * 2 ** (tried - 1), 15_000);
    try {
      const answer = await once(method, address, body, on);
      if (answer.status < 300) return answer.responseText && JSON.parse(answer.responseText);
      if (answer.status !== 429 && answer.status < 500) {
        let why = "Not stored.";
        try {
          why = JSON.parse(answer.responseText).detail;
        } catch {}
        throw Object.assign(new Refused(answer.status === 401 ? "Log in again, then go on." : why), { status: answer.status });
      }
      wait = 1000 * (answer.getResponseHeader("retry-after") || wait / 1000);
    } catch (error) {
      if (error instanceof Refused || tried >= TRIES) throw error;
    }
    if (tried >= TRIES) throw new Error("The box did not answer.");
    on?.sent?.(0);
    await pause(wait);
    if (on?.stop?.aborted) throw new Refused("Stopped.");
  }
}

// What this browser knows of an upload that it began. It knows nothing where it keeps nothing.
const remembered = {
  name: (key, file) => `upload ${api} ${key} ${file.size} ${file.lastModified}`,
  get(name) { try { return localStorage.getItem(name); } catch { return null; } },
  set(name, id) { try { id ? localStorage.setItem(name, id) : localStorage.removeItem(name); } catch {} },
};

async function inParts(file, key, on, moved) {
  const name = remembered.name(key, file);
  const stored = new Map();
  let id = remembered.get(name);
  if (id) {
    try {
      const known = await ask("GET", `${api}/uploads/parts${query({ key, upload: id })}`, null, on);
      for (const part of known.parts) stored.set(part.number, part.size);
    } catch (error) {
      if (error.status !== 404) throw error;
      id = null;
    }
  }
  if (!id) {
    const begin = JSON.stringify({ schema: 1, key, media: file.type || null });
    id = (await ask("POST", `${api}/uploads`, begin, on)).upload;
    remembered.set(name, id);
  }
  on.stop.addEventListener("abort", () => {
    remembered.set(name, null);
    ask("DELETE", `${api}/uploads${query({ key, upload: id })}`).catch(() => {});
  }, { once: true });

  const bytes = Math.max(PART, Math.ceil(file.size / PARTS / MIB) * MIB);
  const count = Math.ceil(file.size / bytes);
  const sent = new Map();
  const tell = () => moved([...sent.values()].reduce((sum, part) => sum + part, 0));
  let next = 1;
  const work = async () => {
    while (next <= count) {
      const number = next++;
      const part = file.slice((number - 1) * bytes, number * bytes);
      if (stored.get(number) !== part.size) {
        const address = `${api}/uploads/parts${query({ key, upload: id, number })}`;
        try {
          await ask("PUT", address, part, { ...on, sent: (now) => { sent.set(number, now); tell(); } });
        } catch (error) {
          // What one part is refused, the others need not try.
          next = count + 1;
          throw error;
        }
      }
      sent.set(number, part.size);
      tell();
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  await ask("POST", `${api}/uploads/complete`, JSON.stringify({ schema: 1, key, upload: id, size: file.size }), on);
  remembered.set(name, null);
}

// A line for a file: its name, how far it is, and how to stop it.
function line(file) {
  const row = document.createElement("li");
  const name = document.createElement("span");
  const bar = document.createElement("progress");
  const says = document.createElement("span");
  const stop = document.createElement("button");
  name.textContent = file.name;
  bar.max = Math.max(file.size, 1);
  bar.value = 0;
  bar.setAttribute("aria-label", file.name);
  says.className = "small";
  says.textContent = "waiting";
  stop.type = "button";
  stop.textContent = "Stop";
  stop.setAttribute("aria-label", `Stop ${file.name}`);
  row.append(name, bar, says, stop);
  rows.append(row);
  const stopping = new AbortController();
  stop.addEventListener("click", () => stopping.abort());
  return {
    stop: stopping.signal,
    moved(bytes) {
      bar.value = bytes;
      says.textContent = `${Math.floor((bytes / bar.max) * 100)} %`;
    },
    ended(text, good) {
      stop.remove();
      says.textContent = text;
      row.classList.add(good ? "good" : "bad");
      if (good) bar.value = bar.max;
    },
  };
}

async function send(file, shown) {
  const key = prefix + file.name;
  try {
    if (shown.stop.aborted) throw new Refused("Stopped.");
    if (file.size <= SMALL) {
      await ask("PUT", `${api}/objects/content${query({ key })}`, file, { stop: shown.stop, sent: shown.moved });
    } else {
      await inParts(file, key, { stop: shown.stop }, shown.moved);
    }
    shown.ended("stored", true);
    return true;
  } catch (error) {
    const again = error instanceof Refused ? "" : " Choose the same file again to go on.";
    shown.ended(`${error.message}${again}`, false);
    return false;
  }
}

let busy = false;
addEventListener("beforeunload", (event) => { if (busy) event.preventDefault(); });

async function start(files) {
  if (busy || !files.length) return;
  busy = true;
  upload.querySelector("button").disabled = true;
  rows.replaceChildren();
  const work = Array.from(files, (file) => [file, line(file)]);
  let all = true;
  for (const [file, shown] of work) all = (await send(file, shown)) && all;
  busy = false;
  upload.querySelector("button").disabled = false;
  if (all) location.reload();
}

upload.addEventListener("submit", (event) => {
  event.preventDefault();
  start(upload.elements.file.files);
});
for (const name of ["dragenter", "dragover"]) {
  upload.addEventListener(name, (event) => { event.preventDefault(); upload.classList.add("over"); });
}
for (const name of ["dragleave", "drop"]) {
  upload.addEventListener(name, (event) => { event.preventDefault(); upload.classList.remove("over"); });
}
upload.addEventListener("drop", (event) => start(event.dataTransfer.files));
