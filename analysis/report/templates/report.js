for (const [event, print] of [["beforeprint", true], ["afterprint", false]])
  addEventListener(event, () => {
    const chosen = print ? "details:not([open])" : "details[data-print]";
    for (const one of document.querySelectorAll(chosen)) {
      one.open = print;
      one.toggleAttribute("data-print", print);
    }
  });
try {
  const chosen = document.getElementById(localStorage.getItem("theme") || "auto");
  if (chosen) chosen.checked = true;
  for (const one of document.querySelectorAll("[name=theme]"))
    one.addEventListener("change", () => localStorage.setItem("theme", one.id));
} catch {}
