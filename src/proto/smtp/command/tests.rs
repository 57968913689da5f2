use proptest::option;
use proptest::prelude::*;
use smtp_proto::MAIL_BODY_8BITMIME;
use smtp_proto::MAIL_RET_FULL;
use smtp_proto::MAIL_RET_HDRS;
use smtp_proto::MAIL_SMTPUTF8;
use smtp_proto::RCPT_NOTIFY_DELAY;
use smtp_proto::RCPT_NOTIFY_FAILURE;
use smtp_proto::RCPT_NOTIFY_NEVER;
use smtp_proto::RCPT_NOTIFY_SUCCESS;
use smtp_proto::Request;

use super::*;
use crate::domain::envelope::Notify;
use crate::domain::envelope::ReturnContent;

fn parse(line: &str) -> Result<Command, BadCommand> {
    Command::parse(line.as_bytes())
}

/// The line is read, and prints in its plain form.
fn reads(line: &str, plain: &str) {
    let command = parse(line).unwrap_or_else(|bad| panic!("{line:?}: {bad:?}"));
    assert_eq!(command.to_string(), plain, "{line:?}");
    assert_eq!(parse(plain), Ok(command));
}

fn refused(line: &str, bad: BadCommand) {
    assert_eq!(parse(line), Err(bad), "{line:?}");
}

#[test]
fn commands_are_read_in_any_case_and_with_trailing_spaces() {
    reads("ehlo client.example", "EHLO client.example");
    reads("HeLo [192.0.2.1]", "HELO [192.0.2.1]");
    reads("EHLO [IPv6:2001:db8::1]", "EHLO [IPv6:2001:db8::1]");
    reads("EHLO WIN_PC-3", "EHLO WIN_PC-3");
    reads("data  ", "DATA");
    reads("rset", "RSET");
    reads("noop and a text", "NOOP");
    reads("quit ", "QUIT");
    reads("help me", "HELP");
    reads("vrfy somebody", "VRFY postmaster");
    reads("starttls", "STARTTLS");
    reads("bdat 0", "BDAT 0");
    reads("bdat 86 last ", "BDAT 86 LAST");
    reads("auth plain =", "AUTH PLAIN =");
    reads("AUTH LOGIN dQ==", "AUTH LOGIN dQ==");
}

#[test]
fn mail_and_rcpt_are_read_with_their_parameters() {
    reads("MAIL FROM:<>", "MAIL FROM:<>");
    reads("mail from: <a@B.fr>  size=10 body=8bitmime", "MAIL FROM:<a@b.fr> SIZE=10 BODY=8BITMIME");
    reads("MAIL FROM:<a@b.fr> BODY=7BIT AUTH=<>", "MAIL FROM:<a@b.fr>");
    reads("MAIL FROM:<é@b.fr> SMTPUTF8", "MAIL FROM:<é@b.fr> SMTPUTF8");
    reads("MAIL FROM:<a@hôpital.fr>", "MAIL FROM:<a@xn--hpital-ixa.fr>");
    reads(
        "MAIL FROM:<a@b.fr> RET=hdrs ENVID=a+2Bb+20c",
        "MAIL FROM:<a@b.fr> RET=HDRS ENVID=a+2Bb+20c",
    );
    reads("RCPT TO:<\"a > b\"@b.fr>", "RCPT TO:<\"a > b\"@b.fr>");
    reads("RCPT TO:<\"a\\\"b\"@b.fr>", "RCPT TO:<\"a\\\"b\"@b.fr>");
    reads("RCPT TO:<\"a.b\"@b.fr>", "RCPT TO:<a.b@b.fr>");
    reads("RCPT TO:<@x.fr,@y.fr:a@b.fr>", "RCPT TO:<a@b.fr>");
    reads("RCPT TO:<pOstMaster>", "RCPT TO:<Postmaster>");
    reads("RCPT TO:<postmaster@b.fr>", "RCPT TO:<postmaster@b.fr>");
    reads("RCPT TO:<a@b.fr> NOTIFY=delay,success", "RCPT TO:<a@b.fr> NOTIFY=SUCCESS,DELAY");
    reads(
        "RCPT TO:<a@b.fr> ORCPT=RFC822;a+2Bc@b.fr NOTIFY=NEVER",
        "RCPT TO:<a@b.fr> NOTIFY=NEVER ORCPT=rfc822;a+2Bc@b.fr",
    );
    reads(
        "RCPT TO:<a@b.fr> ORCPT=utf-8;h\\x{E9}l\\x{2B}é@b.fr",
        "RCPT TO:<a@b.fr> ORCPT=utf-8;h\\x{E9}l\\x{2B}\\x{E9}@b.fr",
    );
}

#[test]
fn a_size_beyond_counting_is_read_and_stays_too_large() {
    let Ok(Command::Mail(_, parameters)) = parse("MAIL FROM:<> SIZE=99999999999999999999") else {
        panic!("twenty digits are allowed by RFC 1870 §3");
    };
    assert_eq!(parameters.size, Some(u64::MAX));
}

#[test]
fn what_is_no_command_is_refused() {
    for line in ["", " ", "EHLOx y", "DAT", "MAILFROM:<>", "GET / HTTP/1.1", "\u{e9}", " NOOP", "*"]
    {
        refused(line, BadCommand::Unknown);
    }
    assert_eq!(Command::parse(b"\x16\x03\x01\x02\x00"), Err(BadCommand::Unknown));
    assert_eq!(Command::parse(b"NOOP \xff"), Err(BadCommand::NotText));
    assert_eq!(Command::parse(b"MAIL FROM:<\xe9@b.fr>"), Err(BadCommand::NotText));
    for line in ["DATA now", "RSET 1", "QUIT 0", "STARTTLS please"] {
        refused(line, BadCommand::NoArguments);
    }
    for line in ["EHLO", "HELO ", "EHLO a b", "EHLO a\tb", "EHLO <a>", "EHLO é", "EHLO a(b"] {
        refused(line, BadCommand::Hello);
    }
    for line in
        ["BDAT", "BDAT x", "BDAT -1", "BDAT +1", "BDAT 1 FIRST", "BDAT 1 LAST x", "BDAT 0x10"]
    {
        refused(line, BadCommand::Bdat);
    }
    assert_eq!(
        Command::parse(b"BDAT \xff"),
        Err(BadCommand::Bdat),
        "its octets follow all the same"
    );
    refused("EXPN list", BadCommand::NotOffered);
    refused("VRFY", BadCommand::Vrfy);
    refused("AUTH", BadCommand::Auth);
    refused("AUTH PLAIN a b", BadCommand::Auth);
    refused("AUTH CRAM-MD5", BadCommand::Mechanism);
}

#[test]
fn a_path_that_is_none_is_refused() {
    for line in [
        "MAIL",
        "MAIL FROM",
        "MAIL FROM:",
        "MAIL FROM:a@b.fr",
        "MAIL FROM :<a@b.fr>",
        "MAIL TO:<a@b.fr>",
        "MAIL FROM:<a@b.fr",
        "MAIL FROM:<a@b.fr>SIZE=1",
        "MAIL FROM:a<a@b.fr>",
        "MAIL FROM:<\"a>b@b.fr>",
        "MAIL FROM:<a@b.fr>\tSIZE=1",
    ] {
        refused(line, BadCommand::Mail);
    }
    for line in ["RCPT", "RCPT TO", "RCPT TO:", "RCPT FROM:<a@b.fr>", "RCPT TO:a@b.fr"] {
        refused(line, BadCommand::Rcpt);
    }
    for path in
        ["a", "@b.fr", "a@", "a@b..fr", "<a@b.fr", "a b@b.fr", "@x.fr,a@b.fr", "@x fr:a@b.fr"]
    {
        refused(&format!("MAIL FROM:<{path}>"), BadCommand::Sender(BadAddress::Syntax));
    }
    refused("RCPT TO:<>", BadCommand::Recipient(BadAddress::Syntax));
    refused("RCPT TO:<a@[192.0.2.1]>", BadCommand::Recipient(BadAddress::Literal));
    refused("RCPT TO:<\"a@b.fr>", BadCommand::Rcpt);
    let long = "a".repeat(65);
    refused(&format!("RCPT TO:<{long}@b.fr>"), BadCommand::Recipient(BadAddress::TooLong));
}

#[test]
fn a_parameter_is_known_given_once_and_of_its_form() {
    for text in ["X=1", "SIZE:1", "NOTIFY=NEVER", "=", "=1", "REQUIRETLS", "BY=1;R"] {
        refused(&format!("MAIL FROM:<> {text}"), BadCommand::ParameterUnknown);
    }
    for text in ["SIZE=1", "RET=FULL", "NOTIFY", "X"] {
        let unknown = parse(&format!("RCPT TO:<a@b.fr> {text}")).unwrap_err();
        assert!(matches!(unknown, BadCommand::ParameterUnknown | BadCommand::ParameterValue));
    }
    for text in [
        "SIZE=1 SIZE=1",
        "BODY=7BIT BODY=8BITMIME",
        "SMTPUTF8 SMTPUTF8",
        "RET=FULL RET=FULL",
        "ENVID=a ENVID=b",
        "AUTH=<> AUTH=<>",
    ] {
        refused(&format!("MAIL FROM:<> {text}"), BadCommand::ParameterTwice);
    }
    let long = format!("ENVID={}", "a".repeat(101));
    for text in [
        "SIZE",
        "SIZE=",
        "SIZE=-1",
        "SIZE=+1",
        "SIZE=1k",
        "SIZE=111111111111111111111",
        "BODY=9BIT",
        "SMTPUTF8=yes",
        "RET=SOME",
        "ENVID=",
        "ENVID=a+2",
        "ENVID=a+2b",
        "ENVID=a+0D+0A",
        "ENVID=é",
        "AUTH=+",
        &long,
    ] {
        refused(&format!("MAIL FROM:<> {text}"), BadCommand::ParameterValue);
    }
    for text in [
        "NOTIFY=",
        "NOTIFY=NEVER,SUCCESS",
        "NOTIFY=DELAY,DELAY",
        "NOTIFY=SOMETIMES",
        "NOTIFY=SUCCESS,",
        "ORCPT=a@b.fr",
        "ORCPT=;a",
        "ORCPT=rfc822;",
        "ORCPT=rfc822;a+0Ab",
        "ORCPT=rfc822;é",
        "ORCPT=utf-8;\\x{0A}",
        "ORCPT=utf-8;\\x{D800}",
        "ORCPT=utf-8;\\x{e9}",
        "ORCPT=x400;a",
    ] {
        refused(&format!("RCPT TO:<a@b.fr> {text}"), BadCommand::ParameterValue);
    }
    refused("MAIL FROM:<> BODY=BINARYMIME", BadCommand::BinaryMime);
}

#[test]
fn a_password_does_not_show_in_debug() {
    let shown = format!("{:?}", parse("AUTH PLAIN AHUAcHc=").unwrap());
    assert!(!shown.contains("AHUAcHc="), "{shown}");
}

fn address() -> impl Strategy<Value = Address> {
    let local_part = prop_oneof![
        "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]{1,20}(\\.[a-z0-9]{1,8}){0,2}",
        "[a-zà-ÿ]{1,10}",
        "\"[a-z <>@,.:;\\[\\]()]{1,20}\"",
        "\"a\\\\[\"\\\\ a-z]b\"",
    ];
    (local_part, "[a-z]([a-z0-9-]{0,8}[a-z0-9])?(\\.[a-z]{2,8}){1,3}")
        .prop_filter_map("an address", |(local_part, domain)| {
            Address::parse(&format!("{local_part}@{domain}")).ok()
        })
}

fn reverse_path() -> impl Strategy<Value = ReversePath> {
    prop_oneof![
        1 => Just(ReversePath::Null),
        4 => address().prop_map(ReversePath::Address),
    ]
}

fn mail_parameters() -> impl Strategy<Value = MailParameters> {
    let ret = prop_oneof![Just(ReturnContent::Full), Just(ReturnContent::Headers)];
    (
        option::of(any::<u64>()),
        any::<bool>(),
        any::<bool>(),
        option::of(ret),
        option::of("[ -~]{1,33}"),
    )
        .prop_map(|(size, eight_bit, smtputf8, ret, envid)| MailParameters {
            size,
            eight_bit,
            smtputf8,
            ret,
            envid,
        })
}

fn rcpt_parameters() -> impl Strategy<Value = RcptParameters> {
    let notify =
        (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(success, failure, delay)| {
            Notify { never: !(success || failure || delay), success, failure, delay }
        });
    let orcpt = prop_oneof!["rfc822;[ -~]{1,60}", "utf-8;[ -~à-ÿ😀]{1,60}"];
    (option::of(notify), option::of(orcpt))
        .prop_map(|(notify, orcpt)| RcptParameters { notify, orcpt })
}

fn command() -> impl Strategy<Value = Command> {
    let name = || "[a-zA-Z0-9._:\\[\\]-]{1,40}".prop_map(ClientName);
    prop_oneof![
        name().prop_map(Command::Ehlo),
        name().prop_map(Command::Helo),
        (reverse_path(), mail_parameters()).prop_map(|(path, more)| Command::Mail(path, more)),
        (address(), rcpt_parameters())
            .prop_map(|(to, more)| Command::Rcpt(ForwardPath::Mailbox(to), more)),
        rcpt_parameters().prop_map(|more| Command::Rcpt(ForwardPath::Postmaster, more)),
        (any::<u64>(), any::<bool>()).prop_map(|(octets, last)| Command::Bdat { octets, last }),
        option::of("[A-Za-z0-9+/]{4,40}={0,2}").prop_map(|response| {
            Command::Auth(Mechanism::Plain, response.as_deref().map(InitialResponse::new))
        }),
    ]
}

proptest! {
    #[test]
    fn what_is_printed_reads_back_equal(command in command()) {
        prop_assert_eq!(parse(&command.to_string()), Ok(command));
    }

    #[test]
    fn no_octets_make_the_parser_panic(line in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = Command::parse(&line);
    }

    #[test]
    fn near_commands_do_not_panic_and_print_what_reads_back(
        line in "(MAIL FROM|RCPT TO|mail from|BDAT|EHLO|AUTH)[: ]{0,2}[<>@\"\\\\a-z.é\\[\\] =+,;0-9A-Z-]{0,60}"
    ) {
        if let Ok(command) = parse(&line) {
            prop_assert_eq!(parse(&command.to_string()), Ok(command));
        }
    }

    /// Two parsers, written apart, read the same from what both know. Known defects of
    /// smtp-proto 0.2.5 are kept out by the generator or undone by `theirs`: quoted local
    /// parts come back unquoted, `<Postmaster>` comes back empty, ORCPT loses its addr-type,
    /// U-labels stay U-labels, sizes end at 63 bits.
    #[test]
    fn another_parser_reads_the_same(command in command()) {
        let line = format!("{command}\r\n");
        let Some(ours) = comparable(&command) else { return Ok(()) };
        let request = Request::parse(&mut line.as_bytes().iter());
        let request = request.map_err(|error| TestCaseError::fail(format!("{error:?}: {line:?}")))?;
        prop_assert_eq!(ours, theirs(&request), "{:?}", line);
    }
}

/// A command in words that both parsers can say.
fn comparable(command: &Command) -> Option<String> {
    let plain = |text: &str| !text.contains(['"', '\\']);
    Some(match command {
        Command::Ehlo(name) if plain_host(name.as_str()) => format!("EHLO {}", name.as_str()),
        Command::Helo(name) if plain_host(name.as_str()) => format!("HELO {}", name.as_str()),
        Command::Mail(path, parameters) => {
            let address = path.address().map(Address::to_string).unwrap_or_default();
            let size = parameters.size.unwrap_or(0);
            if !plain(&address) || size > i64::MAX as u64 {
                return None;
            }
            let mut flags = 0;
            flags |= if parameters.eight_bit { MAIL_BODY_8BITMIME } else { 0 };
            flags |= if parameters.smtputf8 { MAIL_SMTPUTF8 } else { 0 };
            flags |= match parameters.ret {
                Some(ReturnContent::Full) => MAIL_RET_FULL,
                Some(ReturnContent::Headers) => MAIL_RET_HDRS,
                None => 0,
            };
            format!("MAIL {address} {size} {flags} {:?}", parameters.envid)
        }
        Command::Rcpt(ForwardPath::Mailbox(to), parameters) if plain(&to.to_string()) => {
            let mut flags = 0;
            if let Some(notify) = parameters.notify {
                flags |= if notify.never { RCPT_NOTIFY_NEVER } else { 0 };
                flags |= if notify.success { RCPT_NOTIFY_SUCCESS } else { 0 };
                flags |= if notify.failure { RCPT_NOTIFY_FAILURE } else { 0 };
                flags |= if notify.delay { RCPT_NOTIFY_DELAY } else { 0 };
            }
            let orcpt = parameters.orcpt.as_deref().and_then(|orcpt| orcpt.split_once(';'));
            if orcpt.is_some_and(|(addr_type, _)| addr_type != "rfc822") {
                return None;
            }
            format!("RCPT {to} {flags} {:?}", orcpt.map(|(_, address)| address))
        }
        Command::Bdat { octets, last } if *octets <= i64::MAX as u64 => {
            format!("BDAT {octets} {last}")
        }
        _ => return None,
    })
}

fn plain_host(name: &str) -> bool {
    name.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-'))
}

fn theirs<T: std::fmt::Display + AsRef<str>>(request: &Request<T>) -> String {
    match request {
        Request::Ehlo { host } => format!("EHLO {host}"),
        Request::Helo { host } => format!("HELO {host}"),
        Request::Mail { from } => format!(
            "MAIL {} {} {} {:?}",
            from.address,
            from.size,
            from.flags,
            from.env_id.as_ref().map(|envid| envid.as_ref().to_owned())
        ),
        Request::Rcpt { to } => {
            format!("RCPT {} {} {:?}", to.address, to.flags, to.orcpt.as_ref().map(AsRef::as_ref))
        }
        Request::Bdat { chunk_size, is_last } => format!("BDAT {chunk_size} {is_last}"),
        _ => "another command".to_owned(),
    }
}

/// Where the other parser is wrong for a server, and ours is right. When an upgrade of it fails
/// this test, the differential test above can be widened.
#[test]
fn known_defects_of_the_other_parser_are_not_ours() {
    let other =
        |line: &str| Request::parse(&mut line.as_bytes().iter()).map(|request| theirs(&request));
    assert_eq!(other("RCPT TO:<postmaster>\r\n"), Ok("RCPT  0 None".to_owned()));
    reads("RCPT TO:<postmaster>", "RCPT TO:<Postmaster>");
    assert_eq!(other("RCPT TO:<\"a b\"@x.fr>\r\n"), Ok("RCPT a b@x.fr 0 None".to_owned()));
    reads("RCPT TO:<\"a b\"@x.fr>", "RCPT TO:<\"a b\"@x.fr>");
    // A bare LF ends a line for it; for us `line` refuses it before the parser is asked.
    assert_eq!(other("DATA\n"), Ok("another command".to_owned()));
}
