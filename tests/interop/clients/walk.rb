# Ruby's net-imap, net-pop, net-smtp and the mail gem, in each mode; a line "ok NAME" for each.
require 'net/imap'
require 'net/pop'
require 'net/smtp'
require 'mail'

CA = ENV['CA']
TLS = { verify_mode: OpenSSL::SSL::VERIFY_PEER, ca_file: CA }.freeze

def port(name) = Integer(ENV[name])

[['IMAP', nil], ['IMAP', :starttls], ['IMAPS', TLS]].each do |name, mode|
  imap = Net::IMAP.new('localhost', port: port(name), ssl: mode.is_a?(Hash) ? mode : nil)
  imap.starttls(TLS) if mode == :starttls
  mode ? imap.authenticate(mode == :starttls ? 'PLAIN' : 'CRAM-MD5', 'alice', 'secret') : imap.login('alice', 'secret')
  imap.select('INBOX')
  got = imap.fetch(1..-1, %w[FLAGS ENVELOPE BODYSTRUCTURE UID INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER]])
  raise got.inspect unless got[0].attr['ENVELOPE'].subject == 'number 1'
  raise 'search' unless imap.search(['SUBJECT', 'number 2']) == [2]
  raise 'sort' unless imap.sort(%w[REVERSE DATE], ['SUBJECT', 'number'], 'UTF-8') == [3, 2, 1]
  raise 'thread' if imap.thread('REFERENCES', ['ALL'], 'UTF-8').empty?
  raise 'quota' if imap.getquotaroot('INBOX').empty? || imap.getacl('INBOX').empty?
  imap.create('ruby')
  imap.append('ruby', "Subject: r\r\n\r\nx\r\n", [:Seen])
  imap.copy(1, 'ruby')
  imap.select('ruby')
  imap.store(1..-1, '+FLAGS', [:Deleted])
  raise 'expunge' unless imap.expunge.size == 2
  imap.close
  imap.delete('ruby')
  imap.logout
  imap.disconnect
  puts "ok net-imap #{name}#{mode == :starttls ? ' STARTTLS' : ''}"
end

%w[POP3 POP3S].each do |name|
  pop = Net::POP3.new('localhost', port(name))
  pop.enable_ssl(OpenSSL::SSL::VERIFY_PEER, CA) if name == 'POP3S'
  pop.start('alice', 'secret') { raise 'pop' unless pop.mails[0].pop.include?("line 1\r\n.dot\r\n") && pop.mails[0].top(0) && pop.mails[0].uidl }
  puts "ok net-pop #{name}"
end
Net::APOP.new('localhost', port('POP3')).start('alice', 'secret') { |pop| raise 'apop' if pop.n_mails < 3 }
puts 'ok net-pop APOP'

[['SMTP', nil, nil], ['SMTP', :starttls, :login], ['SMTPS', :tls, :cram_md5]].each do |name, mode, mechanism|
  smtp = Net::SMTP.new('localhost', port(name))
  context = OpenSSL::SSL::SSLContext.new
  context.ca_file = CA
  context.verify_mode = OpenSSL::SSL::VERIFY_PEER
  smtp.disable_starttls if smtp.respond_to?(:disable_starttls)
  smtp.enable_starttls(context) if mode == :starttls
  smtp.enable_tls(context) if mode == :tls
  mechanism ? smtp.start('localhost', 'alice', 'secret', mechanism) : smtp.start('localhost')
  smtp.send_message("Subject: ruby\r\n\r\n.x\r\n", 'a@x.example', ['alice@x.example'])
  smtp.finish
  puts "ok net-smtp #{name}#{mode == :starttls ? ' STARTTLS' : ''}"
end

Mail.defaults do
  delivery_method :smtp, address: '127.0.0.1', port: port('SMTP'), enable_starttls_auto: false
end
Mail.deliver { from 'a@x.example'; to 'alice@x.example'; subject 'gem'; body 'x'; add_file __FILE__ }
puts 'ok mail'
