// What postal-mime and mailparser read in messages: file names on standard input, one line of JSON each on standard output.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(pathToFileURL(process.env.MAILJAM_NODE_MODULES + "/x.js"));
const { simpleParser } = require("mailparser");
const PostalMime = require("postal-mime").default ?? require("postal-mime");

const attachment = (name, content) => {
  const octets = Buffer.from(content ?? "");
  return [name ?? "", octets.length, createHash("sha256").update(octets).digest("hex")];
};
const addresses = (list) =>
  (list ?? []).flatMap((item) => (item.group ? addresses(item.group) : item.address ? [item.address] : []));

const parsers = {
  "postal-mime": async (octets) => {
    const mail = await PostalMime.parse(octets);
    return {
      subject: mail.subject ?? "",
      to: addresses(mail.to),
      text: mail.text ?? "",
      html: mail.html ?? "",
      attachments: mail.attachments.map((item) => attachment(item.filename, item.content)),
    };
  },
  mailparser: async (octets) => {
    const mail = await simpleParser(octets, { skipHtmlToText: true, skipTextToHtml: true, skipImageLinks: true });
    const to = [mail.to ?? []].flat().flatMap((field) => field.value);
    return {
      subject: mail.subject ?? "",
      to: addresses(to),
      text: mail.text ?? "",
      html: mail.html || "",
      attachments: mail.attachments.map((item) => attachment(item.filename, item.content)),
    };
  },
};

for (const file of readFileSync(0, "utf8").split("\n").filter(Boolean)) {
  const found = {};
  for (const [name, parse] of Object.entries(parsers)) {
    try {
      found[name] = await parse(readFileSync(file));
    } catch {
      found[name] = null;
    }
  }
  console.log(JSON.stringify(found));
}
