// Keeps the page current: after every change the server renders the fleet anew, and the page puts it in place.
"use strict";

const live = document.getElementById("live");
const fleet = document.getElementById("fleet");
const kinds = ["agent", "server", "ledger", "entitlement", "catalog", "site", "restart"];
const pause = 300; // ms between two looks, however much changes

// The coordinator's clock ages facts, not the browser's.
let ahead = Date.parse(live.dataset.at) - Date.now();
let looking = false, again = false;

function say(text, state) {
  live.className = state;
  if (live.textContent !== text) live.textContent = text;
}

function ages() {
  const now = Date.now() + ahead;
  for (const fact of fleet.querySelectorAll("time[data-age]")) {
    const seconds = Math.max(0, Math.floor((now - Date.parse(fact.dateTime)) / 1000));
    const [n, unit] = seconds < 60 ? [seconds, "s"] : seconds < 3600 ? [seconds / 60, "m"] : seconds < 172800 ? [seconds / 3600, "h"] : [seconds / 86400, "d"];
    fact.textContent = Math.floor(n) + unit + " ago";
  }
}

async function look() {
  if (looking) { again = true; return; }
  looking = true;
  try {
    do {
      again = false;
      const answer = await fetch("/fleet" + location.search, { headers: { Accept: "text/html" } });
      if (!answer.ok) throw new Error("status " + answer.status);
      const html = await answer.text();
      ahead = Date.parse(answer.headers.get("X-Licet-At")) - Date.now();
      fleet.innerHTML = html; // rendered and escaped by the coordinator
      say("live", "on");
      await new Promise((resume) => setTimeout(resume, pause));
    } while (again);
  } catch {
    say("the coordinator cannot be reached; this is as of " + new Date(Date.now() + ahead).toLocaleTimeString(), "off");
  } finally {
    looking = false;
  }
}

const events = new EventSource("/v1/events?after=" + live.dataset.newest);
for (const kind of kinds) events.addEventListener(kind, look);
events.onopen = () => { if (live.className === "off") look(); else say("live", "on"); };
events.onerror = () => say("the connection is lost since " + new Date().toLocaleTimeString() + "; ages go on", "off");
setInterval(ages, 5000);
setInterval(look, 30000); // an agent that dies without a word leaves no event
