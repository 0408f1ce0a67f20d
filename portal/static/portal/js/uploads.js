// Uploads the chosen or dropped files one after the other, with preview, progress and an error beside each of them.
// One at a time, and each after a request that renews the sign-in if needed: the one with the image cannot do that.

const form = document.getElementById("upload-form");

if (form) {
  document.documentElement.classList.add("has-script");
  const input = form.querySelector('input[type="file"]');
  const list = document.getElementById("upload-list");
  const status = document.getElementById("upload-status");
  const accepted = input.accept.split(",");
  const maxBytes = Number(form.dataset.maxBytes);
  const patience = 30_000; // ms without a sign of life
  const queue = [];
  let busy = false;
  let stored = 0;
  let failed = 0;

  input.required = false;
  input.addEventListener("change", () => {
    add(input.files);
    input.value = "";
  });
  form.addEventListener("submit", (event) => event.preventDefault());

  let depth = 0;
  form.addEventListener("dragenter", (event) => { event.preventDefault(); depth += 1; form.classList.add("dropzone--over"); });
  form.addEventListener("dragleave", () => { depth -= 1; if (depth === 0) form.classList.remove("dropzone--over"); });
  form.addEventListener("dragover", (event) => event.preventDefault());
  form.addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    form.classList.remove("dropzone--over");
    add(event.dataTransfer.files);
  });
  // A file dropped beside the zone must not make the browser leave the page.
  window.addEventListener("dragover", (event) => event.preventDefault());
  window.addEventListener("drop", (event) => event.preventDefault());
  window.addEventListener("beforeunload", (event) => { if (busy) event.preventDefault(); });

  function add(files) {
    for (const file of files) queue.push({ file, row: makeRow(file) });
    if (files.length) list.hidden = false;
    work();
  }

  async function work() {
    if (busy) return;
    busy = true;
    while (queue.length) {
      const { file, row } = queue.shift();
      const fault = check(file);
      if (fault) fail(row, file, fault, false);
      else if (await renewSignIn(file, row)) await upload(file, row);
      announce();
    }
    busy = false;
  }

  function check(file) {
    if (file.size === 0) return "This file is empty.";
    if (file.size > maxBytes) return `This file has ${readable(file.size)}; up to ${readable(maxBytes)} are accepted.`;
    if (file.type && !accepted.includes(file.type)) return "This is not a PNG, JPEG, WebP or GIF image.";
    return null;
  }

  function makeRow(file) {
    const row = document.getElementById("upload-item").content.firstElementChild.cloneNode(true);
    row.querySelector(".upload-item__name").textContent = `${file.name} · ${readable(file.size)}`;
    row.querySelector(".upload-item__state").textContent = "Waiting";
    row.querySelector("progress").setAttribute("aria-label", `Progress of ${file.name}`);
    const preview = row.querySelector(".upload-item__preview");
    preview.hidden = true;
    preview.addEventListener("load", () => {
      preview.hidden = false;
      URL.revokeObjectURL(preview.src);
    });
    if (accepted.includes(file.type)) preview.src = URL.createObjectURL(file);
    const again = row.querySelector("button");
    again.addEventListener("click", () => {
      again.hidden = true;
      failed -= 1;
      row.classList.remove("upload-item--failed");
      row.querySelector("progress").hidden = false;
      row.querySelector(".upload-item__state").textContent = "Waiting";
      queue.push({ file, row });
      work();
    });
    list.append(row);
    return row;
  }

  async function renewSignIn(file, row) {
    const body = new FormData();
    body.set("csrfmiddlewaretoken", form.elements.csrfmiddlewaretoken.value);
    try {
      const answer = await fetch(form.dataset.renewal, {
        method: "POST", body, headers: { Accept: "application/json" }, signal: AbortSignal.timeout(patience),
      });
      if (answer.ok) return true;
      refuse(row, file, answer.status, await answer.json().catch(() => null));
    } catch {
      fail(row, file, "The connection was lost. Check your network and try again.", true);
    }
    return false;
  }

  function upload(file, row) {
    return new Promise((done) => {
      const request = new XMLHttpRequest();
      const progress = row.querySelector("progress");
      const state = row.querySelector(".upload-item__state");
      const body = new FormData();
      body.set("csrfmiddlewaretoken", form.elements.csrfmiddlewaretoken.value);
      body.set("image", file);
      request.open("POST", form.action);
      request.responseType = "json";
      request.setRequestHeader("Accept", "application/json");
      state.textContent = "Sending";
      let whole = false;
      let watch;
      const alive = () => {
        clearTimeout(watch);
        watch = setTimeout(() => request.abort(), patience);
      };
      const lost = (what) => {
        const hint = whole ? "The image may be stored all the same: reload the page to see." : "Check your network and try again.";
        fail(row, file, `${what} ${hint}`, true);
      };
      request.upload.addEventListener("load", () => { whole = true; });
      request.upload.addEventListener("progress", (event) => {
        alive();
        if (!event.lengthComputable) return;
        progress.value = Math.round((event.loaded / event.total) * 100);
        state.textContent = event.loaded < event.total ? `Sending, ${progress.value} %` : "Checking and storing";
      });
      request.addEventListener("load", () => {
        if (request.status === 201 && request.response) succeed(row, request.response.image);
        else refuse(row, file, request.status, request.response);
      });
      request.addEventListener("error", () => lost("The connection was lost."));
      request.addEventListener("abort", () => lost("No answer came for 30 seconds."));
      request.addEventListener("loadend", () => {
        clearTimeout(watch);
        done();
      });
      alive();
      request.send(body);
    });
  }

  function succeed(row, image) {
    stored += 1;
    row.classList.add("upload-item--stored");
    row.querySelector("progress").hidden = true;
    row.querySelector(".upload-item__state").textContent = "Stored";
    addToGallery(image);
  }

  function refuse(row, file, status, problem) {
    if (status === 401 && problem?.code !== "token_expired") {
      fail(row, file, "Your sign-in has ended. ", false);
      const link = document.createElement("a");
      link.href = form.dataset.signIn;
      link.textContent = "Sign in again";
      row.querySelector(".upload-item__state").append(link);
      return;
    }
    const text = problem?.errors?.[0]?.message ?? problem?.detail ?? `The upload failed (${status}).`;
    fail(row, file, text, status >= 500 || status === 429 || status === 401 || status === 408);
  }

  function fail(row, file, text, mayTryAgain) {
    failed += 1;
    row.classList.add("upload-item--failed");
    row.querySelector("progress").hidden = true;
    row.querySelector(".upload-item__state").textContent = text;
    const again = row.querySelector("button");
    again.hidden = !mayTryAgain;
    again.setAttribute("aria-label", `Try again: ${file.name}`);
  }

  function announce() {
    const parts = [];
    if (stored) parts.push(`${stored} stored`);
    if (failed) parts.push(`${failed} not stored`);
    if (queue.length) parts.push(`${queue.length} waiting`);
    status.textContent = parts.join(", ");
  }

  function addToGallery(image) {
    const item = document.getElementById("gallery-item").content.firstElementChild.cloneNode(true);
    item.querySelector("a").href = image.page;
    const picture = item.querySelector("img");
    picture.alt = image.alt;
    picture.width = image.card_width;
    picture.height = image.card_height;
    picture.src = image.card_url;
    const gallery = document.getElementById("gallery");
    gallery.prepend(item);
    gallery.hidden = false;
    document.getElementById("gallery-empty")?.remove();
    const count = document.getElementById("image-count");
    const total = Number(count.dataset.total) + 1;
    count.dataset.total = String(total);
    count.textContent = total === 1 ? "1 image" : `${total} images`;
    count.hidden = false;
  }

  function readable(bytes) {
    if (bytes < 1024) return `${bytes} bytes`;
    const kilobytes = bytes / 1024;
    return kilobytes < 1024 ? `${Math.round(kilobytes)} KB` : `${(kilobytes / 1024).toFixed(1).replace(".0", "")} MB`;
  }
}
