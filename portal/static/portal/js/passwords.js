// Adds a button to each password field that shows what was typed.

for (const input of document.querySelectorAll('input[type="password"]')) {
  const wrapper = document.createElement("div");
  wrapper.className = "password";
  const button = document.createElement("button");
  button.type = "button";
  button.className = "password__toggle";
  button.setAttribute("aria-controls", input.id);
  button.setAttribute("aria-pressed", "false");
  button.innerHTML = 'Show<span class="visually-hidden"> what I typed</span>';
  button.addEventListener("click", () => {
    const show = input.type === "password";
    input.type = show ? "text" : "password";
    button.setAttribute("aria-pressed", String(show));
  });
  input.form?.addEventListener("submit", () => { input.type = "password"; });
  input.replaceWith(wrapper);
  wrapper.append(input, button);
}
