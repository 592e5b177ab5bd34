# Net::IMAP::Simple, Mail::POP3Client, Email::Sender and News::NNTPClient, in each mode; a line "ok NAME" for each.
use strict;
use warnings;
use Email::Sender::Simple qw(sendmail);
use Email::Sender::Transport::SMTP;
use Email::Simple;
use Mail::POP3Client;
use Net::IMAP::Simple;
use News::NNTPClient;

my @tls = (SSL_ca_file => $ENV{CA}, SSL_verify_mode => 1);
$| = 1;

for my $name ('IMAP', 'IMAPS') {
    my $imap = Net::IMAP::Simple->new("localhost:$ENV{$name}", $name eq 'IMAPS' ? (use_ssl => 1, ssl_options => [@tls]) : ())
        or die $Net::IMAP::Simple::errstr;
    $imap->login('alice', 'secret') or die $imap->errstr;
    $imap->select('INBOX') >= 3 or die $imap->errstr;
    join('', @{ $imap->get(1) }) =~ /line 1\r\n\.dot/ or die 'get';
    ($imap->search('SUBJECT "number 2"'))[0] == 2 or die 'search';
    $imap->create_mailbox("perl$name") or die $imap->errstr;
    $imap->put("perl$name", "Subject: p\r\n\r\nx\r\n", '\\Seen') or die $imap->errstr;
    $imap->copy(1, "perl$name") or die $imap->errstr;
    $imap->select("perl$name") == 2 or die 'copy';
    $imap->delete(1) or die $imap->errstr;
    $imap->expunge_mailbox or die $imap->errstr;
    $imap->quit;
    print "ok Net::IMAP::Simple $name\n";
}

for my $name ('POP3', 'POP3S') {
    my $pop = Mail::POP3Client->new(USER => 'alice', PASSWORD => 'secret', HOST => 'localhost', PORT => $ENV{$name},
        AUTH_MODE => 'PASS', $name eq 'POP3S' ? (USESSL => 1) : ());
    $pop->Count >= 3 or die $pop->Message;
    $pop->HeadAndBody(1) =~ /line 1/ or die 'retr';
    $pop->Uidl(1) or die 'uidl';
    $pop->Close;
    print "ok Mail::POP3Client $name\n";
}

my @login = (sasl_username => 'alice', sasl_password => 'secret', ssl_options => {@tls});
for my $mode (['SMTP'], ['SMTP STARTTLS', ssl => 'starttls', @login], ['SMTPS', ssl => 'ssl', @login]) {
    my ($name, @options) = @$mode;
    my $mail = Email::Simple->create(header => [From => 'a@x.example', To => 'alice@x.example', Subject => 'perl'], body => "x\n");
    my $transport = Email::Sender::Transport::SMTP->new(host => 'localhost', port => $ENV{(split / /, $name)[0]}, @options);
    sendmail($mail, { transport => $transport });
    print "ok Email::Sender $name\n";
}

my $news = News::NNTPClient->new('127.0.0.1', $ENV{NNTP});
$news->post("From: a\@x.example\n", "Newsgroups: misc.test\n", "Subject: perl\n", "\n", "hi\n", ".dot\n") or die $news->message;
my ($first, $last) = $news->group('misc.test');
join('', $news->article($first)) =~ /hi\r?\n\.dot/ or die 'article';
scalar($news->xover($first)) or die $news->message;
print "ok News::NNTPClient NNTP\n";
