// The copy button of an example with prompts copies its code alone: no prompts, no outputs.
document.addEventListener(
  "click",
  (event) => {
    const button = event.target.closest("[data-clipboard-target]")
    const code = button && document.querySelector(button.dataset.clipboardTarget)
    if (!code || !code.querySelector(".gp")) return
    const copy = code.cloneNode(true)
    for (const part of copy.querySelectorAll(".gp, .go, .gt, .gr")) part.remove()
    const lines = copy.textContent.split("\n").filter((line) => line.trim())
    button.dataset.clipboardText = lines.join("\n") + "\n"
  },
  { capture: true }, // before the theme's own listener reads the text
)
