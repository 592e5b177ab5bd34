"""Bytes and commands of SMTP, POP3, IMAP4 and NNTP: sans-IO front-ends that await only ports."""
