// Shows the image that a person has chosen, before it is sent.

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
  });
}
