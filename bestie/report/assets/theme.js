// The button that switches between light and dark; without a choice, the page follows the system.
const themeButton = document.getElementById("theme");
const systemIsDark = window.matchMedia("(prefers-color-scheme: dark)");

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : systemIsDark.matches;
}

function nameTheme() {
  themeButton.textContent = isDark() ? "Light" : "Dark";
  themeButton.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colors`);
}

themeButton.addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  nameTheme();
});
systemIsDark.addEventListener("change", nameTheme);
nameTheme();
themeButton.hidden = false;

// A link to a stage opens its details, and the details around them.
function openTarget() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let each = target; each; each = each.parentElement?.closest("details")) {
    if (each instanceof HTMLDetailsElement) each.open = true;
  }
  if (target instanceof HTMLDetailsElement) target.scrollIntoView();
}
window.addEventListener("hashchange", openTarget);
openTarget();
