// npm's imap, node-pop3, emailjs and emailjs-imap-client, in each mode; a line "ok NAME" for each.
const ca = require("fs").readFileSync(process.env.CA);
const port = (name) => Number(process.env[name]);
const { promisify } = require("util");

async function nodeImap(options) {
  const Imap = require("imap");
  const imap = new Imap({ user: "alice", password: "secret", host: "localhost", tlsOptions: { ca }, ...options });
  await new Promise((resolve, reject) => { imap.once("error", reject); imap.once("ready", resolve); imap.connect(); });
  const call = (name, ...values) => promisify(imap[name]).apply(imap, values);
  await call("openBox", "INBOX", false);
  const uids = await call("search", ["ALL", ["SUBJECT", "number"]]);
  if (uids.length !== 3) throw new Error("search");
  const fetched = imap.fetch(uids, { bodies: ["HEADER.FIELDS (FROM SUBJECT)", "TEXT"], struct: true, envelope: true });
  let text = "";
  fetched.on("message", (message) => message.on("body", (stream) => stream.on("data", (data) => (text += data))));
  await new Promise((resolve, reject) => { fetched.once("error", reject); fetched.once("end", resolve); });
  if (!text.includes("line 3\r\n.dot")) throw new Error("fetch");
  if ((await call("sort", ["-DATE"], ["ALL"])).length < 3) throw new Error("sort");
  if (!(await call("thread", "REFERENCES", ["ALL"])).length) throw new Error("thread");
  await call("addFlags", uids, ["\\Answered"]);
  await call("addKeywords", uids, ["$Label1"]);
  await call("append", "Subject: n\r\n\r\nx\r\n", { mailbox: "Sent", flags: ["Seen"] });
  if (!(await call("getBoxes")).INBOX) throw new Error("list");
  imap.end();
}

async function nodePop3(options) {
  const Pop3 = require("node-pop3");
  const pop3 = new Pop3({ user: "alice", password: "secret", host: "localhost", timeout: 20000, tlsOptions: { ca }, ...options });
  if ((await pop3.UIDL()).length < 3 || !(await pop3.RETR(1)).includes("line 1")) throw new Error("retr");
  await pop3.QUIT();
}

async function emailjs(options) {
  const { SMTPClient } = require("emailjs");
  const client = new SMTPClient({ host: "localhost", timeout: 20000, ...options });
  const attachment = [{ data: "<b>x</b>", alternative: true }];
  await client.sendAsync({ text: "hi", from: "a@x.example", to: "alice@x.example", subject: "emailjs", attachment });
  client.smtp.close(true);
}

async function emailjsImap(name) {
  const found = require("emailjs-imap-client");
  const options = { auth: { user: "alice", pass: "secret" }, useSecureTransport: name === "IMAPS", ca: ca.toString(), ignoreTLS: true };
  const client = new (found.default || found)("localhost", port(name), { logLevel: 1000, ...options });
  client.onerror = (error) => { throw error; };
  await client.connect();
  await client.selectMailbox("INBOX", { condstore: true });
  const items = ["uid", "flags", "envelope", "bodystructure", "body.peek[]"];
  if ((await client.listMessages("INBOX", "1:3", items))[2].envelope.subject !== "number 3") throw new Error("fetch");
  if ((await client.search("INBOX", { header: ["subject", "number 2"] }, { byUid: true })).length !== 1) throw new Error("search");
  await client.setFlags("INBOX", "1", { add: ["\\Flagged"] });
  await client.close();
}

const login = { user: "alice", password: "secret" };
const steps = [
  ["imap IMAP", () => nodeImap({ port: port("IMAP") })],
  ["imap IMAP STARTTLS", () => nodeImap({ port: port("IMAP"), autotls: "always" })],
  ["imap IMAPS", () => nodeImap({ port: port("IMAPS"), tls: true })],
  ["node-pop3 POP3", () => nodePop3({ port: port("POP3") })],
  ["node-pop3 POP3S", () => nodePop3({ port: port("POP3S"), tls: true })],
  ["emailjs SMTP", () => emailjs({ port: port("SMTP") })],
  ["emailjs SMTP STARTTLS", () => emailjs({ port: port("SMTP"), tls: { ca }, ...login })],
  ["emailjs SMTPS", () => emailjs({ port: port("SMTPS"), ssl: { ca }, ...login })],
  ["emailjs-imap-client IMAP", () => emailjsImap("IMAP")],
  ["emailjs-imap-client IMAPS", () => emailjsImap("IMAPS")],
];
(async () => {
  for (const [name, step] of steps) {
    await step();
    console.log(`ok ${name}`);
  }
  process.exit(0);
})().catch((error) => { console.error(error); process.exit(1); });
