// Shows the image that a person has chosen, before it is sent. Where that takes a sign-in, it is renewed meanwhile: the
// request that carries the image cannot do that.

for (const input of document.querySelectorAll('input[type="file"]')) {
  const preview = document.createElement("img");
  preview.className = "avatar avatar--medium preview";
  preview.alt = "Preview of the chosen image";
  preview.hidden = true;
  preview.width = preview.height = 72;
  preview.addEventListener("error", () => { preview.hidden = true; });
  preview.addEventListener("load", () => URL.revokeObjectURL(preview.src));
  input.after(preview);
  input.addEventListener("change", () => {
    const [file] = input.files;
    preview.hidden = !file;
    if (file) preview.src = URL.createObjectURL(file);
    if (file && input.form.dataset.renewal) renewSignIn(input.form);
  });
}

function renewSignIn(form) {
  const body = new FormData();
  body.set("csrfmiddlewaretoken", form.elements.csrfmiddlewaretoken.value);
  // If it fails, the answer to the form itself says what is wrong.
  fetch(form.dataset.renewal, { method: "POST", body, headers: { Accept: "application/json" } }).catch(() => {});
}
