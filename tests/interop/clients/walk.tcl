# Tcllib's imap4, pop3, nntp and smtp; a line "ok NAME" for each.
package require imap4
package require mime
package require nntp
package require pop3
package require smtp
package require tls

foreach name {POP3 POP3S} {
    set tls [expr {$name eq "POP3S" ? "-socketcmd tls::socket" : ""}]
    set pop [pop3::open -msex 0 {*}$tls localhost alice secret $env($name)]
    if {![string match "*line 1\n.dot*" [string map {\r ""} [lindex [pop3::retrieve $pop 1] 0]]]} { error "retrieve" }
    pop3::uidl $pop 1
    pop3::capa $pop
    pop3::close $pop
    puts "ok pop3 $name"
}
foreach {name options} {
    SMTP {-usetls 0} "SMTP STARTTLS" {-usetls 1 -username alice -password secret} SMTPS {-tlsimport 1 -username alice -password secret}
} {
    set token [mime::initialize -canonical text/plain -string "hello\n.dot\n"]
    set refused [smtp::sendmessage $token -servers localhost -ports $env([lindex $name 0]) {*}$options \
        -originator a@x.example -recipients alice@x.example -header {Subject tcl} -header {From a@x.example}]
    if {$refused ne ""} { error $refused }
    mime::finalize $token
    puts "ok smtp $name"
}
set news [nntp::nntp 127.0.0.1 $env(NNTP)]
$news post "From: a@x.example\nNewsgroups: misc.test\nSubject: tcl\n\nhi\n"
set group [$news group misc.test]
$news xover [lindex $group 1] [lindex $group 2]
$news article [lindex $group 1]
$news quit
puts "ok nntp NNTP"
foreach name {IMAP "IMAP STARTTLS" IMAPS} {
    set imap4::use_ssl [expr {$name eq "IMAPS"}]
    set imap [imap4::open localhost $env([lindex $name 0])]
    if {$name eq "IMAP STARTTLS" && [imap4::starttls $imap]} { error "starttls" }
    if {[imap4::login $imap alice secret] || [imap4::select $imap INBOX]} { error "select" }
    if {![string match "*number 1*" [imap4::fetch $imap 1:2 -inline FLAGS FROM: SUBJECT:]]} { error "fetch" }
    if {[imap4::search $imap subject number]} { error "search" }
    imap4::cleanup $imap
    puts "ok imap4 $name"
}
