// Runs before the first paint, so that a chosen theme never flashes the other one. No module: those run too late.
try {
  const chosen = localStorage.getItem("muster.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch { /* no storage: the system's theme */ }
