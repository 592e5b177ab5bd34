<?php
// The c-client library (as in Alpine) by PHP's imap extension; a line "ok NAME" for each mode.
foreach (['IMAP' => 'imap/notls', 'IMAPS' => 'imap/ssl/novalidate-cert', 'POP3' => 'pop3/notls', 'POP3S' => 'pop3/ssl/novalidate-cert',
          'NNTP' => 'nntp/notls', 'NNTPS' => 'nntp/ssl/novalidate-cert'] as $name => $flags) {
    $server = '{localhost:' . getenv($name) . "/$flags}";
    $news = $name[0] === 'N';
    $box = imap_open($server . ($news ? 'misc.test' : 'INBOX'), 'alice', 'secret', 0, 1) or die("$name: " . imap_last_error());
    $count = imap_num_msg($box);
    if ($count < 1 || count(imap_fetch_overview($box, "1:$count")) !== $count) die("$name: overview");
    if (strpos(imap_body($box, 1), $news ? 'article' : "line 1\r\n.dot") === false) die("$name: body");
    if (count(imap_sort($box, SORTDATE, false)) !== $count) die("$name: sort");
    if (!$news && count(imap_search($box, 'SUBJECT "number"')) < 3) die("$name: search");
    if ($name[0] === 'I') {
        imap_append($box, $server . 'INBOX', "Subject: php\r\n\r\nx\r\n") or die("$name: append");
        imap_setflag_full($box, '1', '\\Flagged') or die("$name: flag");
        imap_createmailbox($box, $server . "php$name") or die("$name: create");
        imap_mail_copy($box, '1:2', "php$name") or die("$name: copy");
        if (imap_status($box, $server . "php$name", SA_ALL)->messages !== 2) die("$name: status");
        if (!imap_thread($box) || count(imap_list($box, $server, '*')) < 5) die("$name: thread or list");
    }
    imap_close($box);
    if (imap_errors() || imap_alerts()) die("$name: warnings");
    echo "ok c-client $name\n";
}
