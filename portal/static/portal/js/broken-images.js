// Replaces a stored image that cannot be loaded by its description, and says once on the page that images are missing.

function replace(image) {
  const placeholder = document.createElement("span");
  placeholder.className = `${image.className} image-missing`.trim();
  placeholder.setAttribute("role", "img");
  placeholder.setAttribute("aria-label", image.alt ? `${image.alt} (cannot be shown)` : "");
  if (image.alt) {
    placeholder.append(image.classList.contains("avatar") ? "" : `${image.alt} cannot be shown at this moment.`);
  } else {
    placeholder.setAttribute("aria-hidden", "true");
  }
  image.replaceWith(placeholder);
  document.getElementById("images-not-loading")?.removeAttribute("hidden");
}

function isStored(image) {
  return image instanceof HTMLImageElement && image.src.includes("/uploads/");
}

document.addEventListener("error", (event) => isStored(event.target) && replace(event.target), true);
for (const image of [...document.images]) {
  if (isStored(image) && image.complete && image.naturalWidth === 0 && image.loading !== "lazy") replace(image);
}
