// What HTML and htmx cannot: charts, a log that stays at its end, and watching a policy play.
"use strict";

// Each chart's document follows its figure. It is drawn anew when it differs from what was drawn.
function drawCharts() {
  for (const figure of document.querySelectorAll("figure.chart.live")) {
    const text = figure.nextElementSibling?.textContent;
    if (!text || text === figure.drawnFrom) continue;
    figure.drawnFrom = text;
    Charts.draw(figure, JSON.parse(text));
  }
}

function followLogs() {
  for (const log of document.querySelectorAll(".log")) {
    if (log.atEnd !== false) log.scrollTop = log.scrollHeight;
    if (log.watched) continue;
    log.watched = true;
    log.addEventListener("scroll", () => { log.atEnd = log.scrollTop + log.clientHeight > log.scrollHeight - 30; });
  }
}

function refreshed() {
  drawCharts();
  followLogs();
  const now = document.querySelector("#now[hx-trigger]");
  if (now?.querySelector("[data-over]")) { // nothing changes any more, so nobody asks any more
    now.removeAttribute("hx-trigger");
    now.removeAttribute("hx-get");
    htmx.process(now, true);
  }
}

async function play(form, button, halt) {
  const screen = document.getElementById("screen");
  const score = document.getElementById("score");
  const said = document.getElementById("played");
  const stopping = new AbortController();
  const stop = () => stopping.abort();
  halt.addEventListener("click", stop);
  button.disabled = true;
  halt.disabled = false;
  said.textContent = "";
  let last = null;
  try {
    const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)), signal: stopping.signal });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ; ) {
      const { value, done } = await reader.read();
      if (done) break;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        const step = JSON.parse(line);
        if (step.problem) { said.textContent = step.problem; continue; }
        last = step;
        screen.src = step.frame;
        screen.hidden = score.hidden = false;
        for (const figure of score.querySelectorAll("[data-of]")) {
          const shown = step[figure.dataset.of];
          figure.textContent = shown == null ? "-" : JSON.stringify(shown);
        }
      }
    }
    if (last?.over) said.textContent = `The episode is over after ${last.step} steps; its return is ${last.total}.`;
  } catch (error) {
    said.textContent = error.name === "AbortError" ? "Stopped." : `The page does not answer: ${error.message}`;
  } finally {
    halt.removeEventListener("click", stop);
    button.disabled = false;
    halt.disabled = true;
  }
}

// A film moves while its button is pressed.
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-film]");
  if (!button) return;
  const picture = button.parentElement.querySelector("img");
  const plays = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(plays));
  picture.hidden = !plays;
  if (plays) picture.src = button.dataset.film;
  else picture.removeAttribute("src");
});

document.addEventListener("htmx:after:swap", refreshed);
document.addEventListener("htmx:after:request", (event) => {
  const reason = document.getElementById("reason");
  if (reason && event.detail.ctx?.request?.method === "POST") reason.value = ""; // it was of the command that was given
});
document.addEventListener("DOMContentLoaded", () => {
  refreshed();
  const form = document.getElementById("play");
  form?.addEventListener("submit", (event) => {
    event.preventDefault();
    play(form, form.elements.go, form.elements.halt);
  });
});
