/** The frame of a page for people that needs nothing from elsewhere and runs nothing: opened from a mail, printed, kept. */
import { withoutControls } from "../../logger.ts";
import { style } from "./style.ts";

/** `body` is HTML; `ownStyle` is for what the page has that others have not. */
export function htmlFrame(title: string, body: string, ownStyle = ""): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${htmlText(title)}</title>
<style>${style}${ownStyle}</style>
</head>
<body>
<main>
${body}
</main>
</body>
</html>
`;
}

/** Names come from elsewhere: none may become a part of the page. */
export function htmlText(value: string): string {
  return withoutControls(value)
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}
