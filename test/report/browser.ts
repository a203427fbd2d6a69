// A page of ours in a real browser: what sticks out of it, what it asks for, what it runs.

import { type Browser, chromium, type Page as Tab } from "playwright-core";

/** As root it has no sandbox of its own; the pages are ours. */
export async function startBrowser(): Promise<Browser> {
  return await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
}

/** What sticks out of the page, or of what holds it; runs in the page. */
const findOverflow = `(() => {
  const width = document.documentElement.clientWidth;
  const found = document.documentElement.scrollWidth > width ? ["the page"] : [];
  for (const element of document.querySelectorAll("main *")) {
    // Headings of tables are for those who listen, where rows stand below one another.
    if (element.closest("thead") && width < 640) continue;
    // A picture's parts may lie outside of what is seen of it.
    if (element.closest("svg") && element.tagName !== "svg") continue;
    const { right, left } = element.getBoundingClientRect();
    const wide = element.scrollWidth > element.clientWidth + 1;
    const outside = right > width + 0.5 || left < -0.5;
    const inline = getComputedStyle(element).display === "inline";
    if (outside || (wide && !inline)) found.push(element.tagName + ": " + element.textContent.slice(0, 60));
  }
  return found;
})()`;

export async function overflowing(tab: Tab): Promise<string[]> {
  return await tab.evaluate<string[]>(findOverflow);
}

/** What a tab asks of anybody, and what it complains of, from now on. */
export function watched(tab: Tab): { readonly asked: string[]; readonly complaints: string[] } {
  const [asked, complaints]: [string[], string[]] = [[], []];
  tab.on("request", (request) => asked.push(request.url()));
  tab.on("console", (message) => complaints.push(message.text()));
  tab.on("pageerror", (error) => complaints.push(String(error)));
  return { asked, complaints };
}
